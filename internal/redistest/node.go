package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// graceful is how long a node may take to stop on request, before it is killed.
const graceful = 5 * time.Second

// errPortTaken: another process had the node's port.
var errPortTaken = errors.New("its port is taken")

// Data says with what a node comes back from Restart.
type Data int

const (
	// Keep is everything the node wrote down: all of it after Stop, and after
	// Kill what its persistence (off unless Options.Args turn it on) has saved.
	Keep Data = iota
	// Empty is a data node without data but with its configuration, and so its
	// role; or a Sentinel with a fresh id, at epoch 0, that knows the address of
	// the master and nothing else.
	Empty
)

// Node is one Redis or Sentinel process with a fixed address. Its methods may be
// called from any goroutine, but those that start and end the process wait for
// each other.
type Node struct {
	Name string // redis-0 (the first master), redis-1, ..., sentinel-0, ...
	Addr string // host:port
	Host *Host  // nil without Options.Namespaces

	password string
	dir      string
	command  []string                       // how to start it
	id       string                         // of a Sentinel: its id, as first configured
	fresh    func(id, master string) string // of a Sentinel: the configuration of an empty one

	mu   sync.Mutex
	proc *Process // the running or last one; never nil once started
}

func (n *Node) conf() string { return filepath.Join(n.dir, "redis.conf") }
func (n *Node) log() string  { return filepath.Join(n.dir, "log") }

// start starts the process and waits until it answers.
func (n *Node) start(ctx context.Context) error {
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.command[0], n.command[1:]...)
	cmd.Dir = n.dir
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := n.Host.Start(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	n.proc = proc
	err = poll(ctx, func() error { return n.answers(ctx) })
	if err != nil {
		n.proc.Kill()
		last := tail(n.Log(), 3)
		if strings.Contains(last, "Address already in use") {
			err = errors.Join(errPortTaken, err)
		}
		return fmt.Errorf("%s does not start: %w, saying %s", n.Name, err, last)
	}
	return nil
}

// answers says whether this very process answers, with its data loaded.
func (n *Node) answers(ctx context.Context) error {
	if !n.proc.alive() {
		return final{fmt.Errorf("it ended: %v", n.proc.Wait())}
	}
	if _, err := n.Do(ctx, "PING"); err != nil {
		return err
	}
	info, err := n.Info(ctx, "server")
	if err == nil && info["process_id"] != strconv.Itoa(n.proc.Pid()) {
		err = final{fmt.Errorf("%w: process %s answers there", errPortTaken, info["process_id"])}
	}
	return err
}

// Pid is the process id of the running process, or of the last one.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc.Pid()
}

// Alive says whether the process exists, if only frozen.
func (n *Node) Alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc.alive()
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (n *Node) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proc.Kill()
}

// Freeze stops the process in its tracks (SIGSTOP): its connections stay open
// and its port still takes new ones, but nothing is answered. A Sentinel that is
// thawed after more than 2 s is in TILT for the next 30 s.
func (n *Node) Freeze() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", n.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	return poll(ctx, func() error {
		if !n.proc.stopped() {
			return fmt.Errorf("freeze %s: it still runs", n.Name)
		}
		return nil
	})
}

// Thaw lets a frozen process go on.
func (n *Node) Thaw() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw %s: %w", n.Name, err)
	}
	return nil
}

// Stop ends the process as an operator would, with its data saved, and kills it
// if it has not ended after 5 s.
func (n *Node) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stop()
}

func (n *Node) stop() {
	if !n.proc.alive() {
		return
	}
	defer time.AfterFunc(graceful, n.proc.Kill).Stop()
	_ = n.proc.Signal(syscall.SIGCONT) // a frozen one could not stop
	if n.id == "" {
		ctx, cancel := context.WithTimeout(context.Background(), graceful)
		defer cancel()
		// A success has no reply, the connection just ends. A refusal (saving
		// failed) leaves the process to the signal.
		if _, err := n.Do(ctx, "SHUTDOWN", "SAVE"); errors.As(err, new(ReplyError)) {
			_ = n.proc.Signal(syscall.SIGTERM)
		}
	} else {
		_ = n.proc.Signal(syscall.SIGTERM)
	}
	<-n.proc.Done()
}

// Restart starts the process again, on the same address, and waits until it
// answers. One that still runs is ended before: by Stop if its data are to be
// kept, else by Kill.
func (n *Node) Restart(ctx context.Context, data Data) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if data == Keep {
		n.stop()
	} else {
		n.proc.Kill()
		if err := n.wipe(); err != nil {
			return fmt.Errorf("empty %s: %w", n.Name, err)
		}
	}
	return n.start(ctx)
}

// wipe removes everything but the log and, of a data node, its configuration.
func (n *Node) wipe() error {
	keep := map[string]bool{"log": true, "redis.conf": true}
	files, err := os.ReadDir(n.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !keep[f.Name()] {
			if err := os.RemoveAll(filepath.Join(n.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	if n.fresh == nil {
		return nil
	}
	master, err := monitored(n.conf())
	if err != nil {
		return err
	}
	return os.WriteFile(n.conf(), []byte(n.fresh(newID(), master)), 0o600)
}

// Log returns what the process, and those before it on this node, logged so far.
func (n *Node) Log() string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// String is the node's name and address.
func (n *Node) String() string { return n.Name + " " + n.Addr }

// tail returns the last lines of text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
