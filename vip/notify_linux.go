package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// notifyTimeout is how long a notify command may take. It is killed then, with
// what it has started.
const notifyTimeout = 10 * time.Second

// notice is a state that was entered, to be told to the operator's commands.
type notice struct {
	state    string // as the commands see it: MASTER, BACKUP, FAULT or STOP
	why      string
	priority int
}

// notifier runs the notify commands of one instance, one at a time and in order.
// Of states that were entered while a command ran only the last is told: commands
// that set something up are to end with the state that is.
type notifier struct {
	vip  config.VIP
	log  zerolog.Logger
	most time.Duration // that a command may take
	next chan notice   // at most one, the latest
	done chan struct{}
}

func newNotifier(v config.VIP, log zerolog.Logger) *notifier {
	return &notifier{vip: v, log: log, most: notifyTimeout, next: make(chan notice, 1), done: make(chan struct{})}
}

// tell never waits. It is called by one goroutine.
func (n *notifier) tell(note notice) {
	select {
	case old := <-n.next:
		n.log.Debug().Str("state", old.state).Msg("notify command skipped: the one before it still runs, and the state has changed again")
	default:
	}
	n.next <- note
}

// close ends run, after the commands of the last state.
func (n *notifier) close() {
	close(n.next)
	<-n.done
}

// run ends with close.
func (n *notifier) run() {
	defer close(n.done)
	for note := range n.next {
		if command := n.command(note.state); len(command) > 0 {
			n.exec(command, note)
		}
	}
}

func (n *notifier) command(state string) config.Command {
	switch state {
	case stateMaster:
		return n.vip.NotifyMaster
	case stateBackup:
		return n.vip.NotifyBackup
	case stateFault:
		return n.vip.NotifyFault
	default:
		return n.vip.NotifyStop
	}
}

// The states as commands see them, in keepalived's words.
const (
	stateMaster = "MASTER"
	stateBackup = "BACKUP"
	stateFault  = "FAULT"
	stateStop   = "STOP"
)

// exec runs one command.
func (n *notifier) exec(command config.Command, note notice) {
	ctx, cancel := context.WithTimeout(context.Background(), n.most)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", command...)
	cmd.Args[0] = launcher
	cmd.Env = append(os.Environ(), n.environment(note)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what has left the group and holds the output
	var said excerpt
	cmd.Stdout, cmd.Stderr = &said, &said
	begun := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("killed after %v", n.most)
	}
	event := n.log.Info()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		event = n.log.Error().Err(err)
	}
	event.Strs("command", command).Str("state", note.state).Str("said", said.String()).
		Dur("took_ms", time.Since(begun)).Msg("notify command")
}

func (n *notifier) environment(note notice) []string {
	return []string{
		"HOLDFAST_VIP_NAME=" + n.vip.Name,
		"HOLDFAST_VIP_STATE=" + note.state,
		"HOLDFAST_VIP_WHY=" + plainText(note.why),
		"HOLDFAST_VIP_PRIORITY=" + fmt.Sprint(note.priority),
		"HOLDFAST_VIP_INTERFACE=" + n.vip.Interface,
		"HOLDFAST_VIP_ROUTER_ID=" + fmt.Sprint(n.vip.RouterID),
		"HOLDFAST_VIP_ADDRESSES=" + strings.Join(words(n.vip.Addresses), " "),
	}
}

// plainText is text as one line of bounded length. A reason may quote what a server
// answered, and no command runs with a NUL in its environment, or with 128 KiB.
func plainText(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), excerptBytes)], "")
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
}

func words(addresses []netip.Addr) []string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = a.String()
	}
	return words
}

// excerpt keeps the beginning of what is written to it.
type excerpt struct{ bytes.Buffer }

const excerptBytes = 1 << 10

func (e *excerpt) Write(b []byte) (int, error) {
	e.Buffer.Write(b[:min(len(b), excerptBytes-e.Len())])
	return len(b), nil
}

func (e *excerpt) String() string { return strings.TrimSpace(e.Buffer.String()) }
