package redistest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Handler answers one command. It runs on the connection's own goroutine, which
// reads the next command when it has returned; what it writes is sent then, or
// at Flush. A handler that waits for something must also wait for Conn.Done.
type Handler func(c *Conn, args []string)

// Command is one command that a script received.
type Command struct {
	Conn int // the connection's number, from 1 on
	Args []string
}

// Script is a server that speaks RESP and does exactly what it is told: what it
// answers to each command can be changed at any time, and it can refuse, hang,
// cut, and answer half a frame. It records every command before it answers. It
// knows no command by itself but the subscribing ones.
type Script struct {
	addr string

	mu       sync.Mutex // guards what follows
	listener net.Listener
	closed   bool
	silent   bool
	handlers map[string]Handler // by upper-case name
	conns    map[*Conn]struct{}
	accepted int
	commands []Command
	taken    map[string]int // how many of commands AwaitCommand has seen, by name
	username string
	password string
	changed  chan struct{} // closed and replaced whenever something of the above changes

	running sync.WaitGroup // accept loops and connections
}

// NewScript starts a script on a loopback port for a test, and closes it at the
// test's end.
func NewScript(tb testing.TB) *Script {
	tb.Helper()
	s, err := Listen("")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Listen starts a script on addr; "" is a free port of 127.0.0.1. The caller must
// Close it.
func Listen(addr string) (*Script, error) {
	if addr == "" {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		addr = fmt.Sprintf("127.0.0.1:%d", port)
	}
	s := &Script{
		addr:     addr,
		handlers: make(map[string]Handler),
		conns:    make(map[*Conn]struct{}),
		taken:    make(map[string]int),
		changed:  make(chan struct{}),
	}
	maps.Copy(s.handlers, pubsub)
	if err := s.Accept(); err != nil {
		return nil, err
	}
	s.addr = s.listener.Addr().String() // addr may have named port 0
	return s, nil
}

// Addr is the script's host:port; it stays the same.
func (s *Script) Addr() string { return s.addr }

// Accept takes new connections again after Refuse.
func (s *Script) Accept() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("scripted server: %w", err)
	}
	s.listener = l
	s.running.Go(func() { s.acceptAll(l) })
	return nil
}

// acceptAll ends when the listener is closed, by Refuse or Close.
func (s *Script) acceptAll(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.listener != l { // refused or closed meanwhile
			s.mu.Unlock()
			nc.Close()
			return
		}
		s.accepted++
		c := newConn(s, s.accepted, nc)
		s.conns[c] = struct{}{}
		s.running.Go(c.serve)
		s.change()
		s.mu.Unlock()
	}
}

// Refuse closes the listener, so that new connections are refused by the kernel.
// Those that exist stay.
func (s *Script) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
}

// Cut closes all connections.
func (s *Script) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Cut()
	}
}

// Silence makes the script accept, read and record as before but answer nothing,
// as a frozen process whose kernel still accepts. What came meanwhile is not
// answered later.
func (s *Script) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = on
}

// Require makes every connection log in with AUTH or HELLO before anything else.
// An empty password asks for nothing, an empty username means "default".
// Connections that are logged in stay so.
func (s *Script) Require(username, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.username, s.password = username, password
}

// Close ends the listener and all connections and waits for their goroutines.
func (s *Script) Close() {
	s.mu.Lock()
	s.closed = true // no Accept from here on
	s.mu.Unlock()
	s.Refuse()
	s.Cut()
	s.running.Wait()
}

// Handle makes h the answer to a command from now on. The name is of one or two
// words ("SENTINEL MASTER"), of which two go first; "" is every command that has
// no handler of its own. A nil h makes the command unknown.
func (s *Script) Handle(name string, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h == nil {
		delete(s.handlers, strings.ToUpper(name))
		return
	}
	s.handlers[strings.ToUpper(name)] = h
}

// receive records a command and says how to answer it.
func (s *Script) receive(c *Conn, args []string) Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, Command{Conn: c.number, Args: args})
	s.change()
	name := strings.ToUpper(args[0])
	switch {
	case s.silent:
		return nothing
	case s.password != "" && !c.loggedIn && name != "AUTH" && name != "HELLO":
		return Error("NOAUTH Authentication required.")
	}
	if len(args) > 1 {
		if h, ok := s.handlers[name+" "+strings.ToUpper(args[1])]; ok {
			return h
		}
	}
	if h, ok := s.handlers[name]; ok {
		return h
	}
	if h, ok := s.handlers[""]; ok {
		return h
	}
	return unknown
}

func unknown(c *Conn, args []string) {
	text := fmt.Sprintf("ERR unknown command '%s', with args beginning with: ", args[0])
	for _, a := range args[1:] {
		text += "'" + a + "' "
	}
	Error(text)(c, args)
}

// Commands returns everything that was received so far.
func (s *Script) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Count says how many commands of that name (one or more words) were received.
func (s *Script) Count(name string) (n int) {
	for _, cmd := range s.Commands() {
		if cmd.is(name) {
			n++
		}
	}
	return n
}

func (c Command) is(name string) bool {
	words := strings.Fields(name)
	return len(words) <= len(c.Args) && slices.EqualFunc(words, c.Args[:len(words)], strings.EqualFold)
}

// AwaitCommand returns the next command of that name (one or more words) which
// no earlier AwaitCommand with the same name has returned, and waits for it if
// it has not come yet.
func (s *Script) AwaitCommand(ctx context.Context, name string) (cmd Command, err error) {
	err = s.await(ctx, "the command "+name, func() bool {
		for i, received := range s.commands[s.taken[name]:] {
			if received.is(name) {
				s.taken[name] += i + 1
				cmd = received
				return true
			}
		}
		return false
	})
	return cmd, err
}

// Conns is the number of open connections.
func (s *Script) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// AwaitConns waits until exactly n connections are open.
func (s *Script) AwaitConns(ctx context.Context, n int) error {
	return s.await(ctx, fmt.Sprintf("%d connections", n), func() bool { return len(s.conns) == n })
}

// await waits until holds, which is called under the lock, is true.
func (s *Script) await(ctx context.Context, what string, holds func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s awaited in vain: %s", s.addr, what), context.Cause(ctx))
		}
	}
}

// change wakes everybody who awaits something. The lock must be held.
func (s *Script) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}
