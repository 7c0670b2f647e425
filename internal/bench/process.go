//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is one that we started. Only its own pid is ever signalled.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with its output
	ended chan struct{} // closed by wait
}

// startProcess runs argv with its output in a file under dir. The process
// stands in a group of its own, so that a terminal's interrupt reaches us alone
// and we end it in order; should we be killed outright, the kernel kills it as
// well. That happens when the starting thread dies, hence the main goroutine,
// which alone starts processes, is locked to the main thread.
func startProcess(dir, name string, argv []string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name: name, log: log.Name(), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.wait()
	return p, nil
}

// wait ends with the process.
func (p *process) wait() {
	p.cmd.Wait() // how it ended does not matter: it has to run until stop
	close(p.ended)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop kills the process: it holds nothing that is worth a graceful end.
func (p *process) stop() {
	p.cmd.Process.Kill()
	<-p.ended
}

// await retries a question until it is answered rightly, the process ends or
// the time is up.
func (p *process) await(ctx context.Context, limit time.Duration, question func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := question()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.ended:
			return fmt.Errorf("%s ended at once (%v): %s", p.name, p.cmd.ProcessState, p.lastWords())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%s is not ready after %v: %w: %s", p.name, limit, err, p.lastWords())
		}
	}
}

// lastWords is the end of the process' output.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-2000):])
}

// freePort asks the kernel for a port of the loopback that nobody uses now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
