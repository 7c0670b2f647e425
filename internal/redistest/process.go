package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Process is a program that this process started and that cannot outlive it:
// the kernel kills it when its launcher's thread ends, even if that is because
// this process was killed itself.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// Start starts cmd inside h (in this process' own network when h is nil) as a
// Process. The caller sets up cmd's input, output and environment before.
func (h *Host) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	dieWithParent(cmd.SysProcAttr)
	cmd.SysProcAttr.Setpgid = true // a terminal's ^C is for us alone
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.launch(h, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// launch starts the program and reaps it; it ends when the program has. The
// goroutine keeps its thread for all that time, because Pdeathsig fires when
// the *thread* that forked ends, and Go ends idle threads as it likes.
func (p *Process) launch(h *Host, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := h.Inside(p.cmd.Start)
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed once the program has ended and been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end and says how it ended, as exec.Cmd.Wait does.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal; os.ErrProcessDone if the program has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the program at once, stopped or not, and waits until it is reaped.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // it may have ended already: then Done is or will be closed
	<-p.done
}

// alive says whether the program has not been reaped.
func (p *Process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stopped says whether every thread of the program stands still (SIGSTOP works
// on a process thread by thread).
func (p *Process) stopped() bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
	if err != nil {
		return false
	}
	for _, t := range tasks {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", p.Pid(), t.Name()))
		if err != nil {
			continue // that thread has just ended
		}
		// "pid (name) state ...": the name may hold anything, so look behind its last parenthesis.
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}
