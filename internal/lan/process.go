//go:build linux

package lan

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program inside a host. The kernel kills it when its launcher's
// thread ends, even if that is because this process was killed itself.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// Start starts cmd inside the host for a test. What it prints is kept, and shown
// if the test fails; the test's end kills it if it still runs.
func (h *Host) Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{})}
	p.out.grown = make(chan struct{})
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // a terminal's ^C is for us alone
	started := make(chan error, 1)
	go p.launch(h, started)
	if err := <-started; err != nil {
		tb.Fatalf("start %s in %s: %v", cmd.Path, h.Name, err)
	}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("%s in %s said:\n%s", cmd.Args[0], h.Name, p.out.tail(6000))
		}
	})
	return p
}

// launch starts the program and reaps it; it ends when the program has. It keeps
// its thread for all that time, because Pdeathsig fires when the thread that
// forked ends, and Go ends idle threads as it likes.
func (p *Process) launch(h *Host, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := h.Inside(p.cmd.Start)
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // how it ended is its own affair
	}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal; it does nothing if the program has ended.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Stop asks the program to end (SIGTERM) and waits until it has.
func (p *Process) Stop(tb testing.TB) {
	tb.Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		tb.Fatalf("%s has not ended 10 s after SIGTERM", p.cmd.Path)
	}
}

// Kill ends the program and its children at once, without a last word of any of
// them, and waits until it is reaped. It is stopped first, or it would see its
// children die and start others.
func (p *Process) Kill() {
	p.Signal(syscall.SIGSTOP)
	for _, child := range p.children() {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Freeze stops the program and its children where they are.
func (p *Process) Freeze() { p.toAll(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Process) Thaw() { p.toAll(syscall.SIGCONT) }

func (p *Process) toAll(sig syscall.Signal) {
	for _, child := range p.children() {
		_ = syscall.Kill(child, sig)
	}
	p.Signal(sig)
}

func (p *Process) children() (pids []int) {
	lists, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
	for _, task := range lists {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", p.Pid(), task.Name()))
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Await waits until the program has printed text, and returns the line with it.
func (p *Process) Await(tb testing.TB, text string) string {
	tb.Helper()
	deadline := time.After(20 * time.Second)
	for {
		line, grown := p.out.find(text)
		if line != "" {
			return line
		}
		select {
		case <-grown:
		case <-p.done:
			if line, _ := p.out.find(text); line != "" {
				return line
			}
			tb.Fatalf("%s ended and never said %q", p.cmd.Path, text)
		case <-deadline:
			tb.Fatalf("%s has not said %q for 20 s", p.cmd.Path, text)
		}
	}
}

// Quiet fails the test if the program has printed text.
func (p *Process) Quiet(tb testing.TB, text string) {
	tb.Helper()
	if line, _ := p.out.find(text); line != "" {
		tb.Errorf("%s said: %s", p.cmd.Path, line)
	}
}

// output is what a program printed.
type output struct {
	mu    sync.Mutex
	text  []byte
	grown chan struct{} // closed at the next write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.grown)
	o.grown = make(chan struct{})
	return len(b), nil
}

func (o *output) find(text string) (line string, grown <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for l := range bytes.Lines(o.text) {
		if bytes.HasSuffix(l, []byte("\n")) && bytes.Contains(l, []byte(text)) {
			return string(l), o.grown
		}
	}
	return "", o.grown
}

func (o *output) tail(most int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text[max(0, len(o.text)-most):])
}
