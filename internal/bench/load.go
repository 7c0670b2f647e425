//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a run.
const (
	connTimeout  = 5 * time.Second // to connect
	drainTimeout = 5 * time.Second // for the answers that are out when the window ends
	openLoopRoom = 1024            // unanswered commands of one connection in an open loop
	readRoom     = 256 << 10       // what one read takes at most
)

// conn is one connection of the generator; fd is -1 once it has failed.
type conn struct {
	fd     int
	tls    *sealed // nil: in the clear
	next   int     // step of the next request
	reply  cursor  // where its replies are
	asked  []int64 // ring of the moments that unanswered commands count from
	head   uint32  // of the oldest in asked
	tail   uint32  // behind the newest
	unsent []byte  // what the socket has not taken
}

func (c *conn) owed() int { return int(c.tail - c.head) }

// generator is a single-threaded load generator: one epoll instance, one read
// buffer, no allocation while it measures but those of crypto/tls. One goroutine
// owns it.
type generator struct {
	script   *script
	pipeline int
	gap      float64 // mean nanoseconds between two commands of an open loop; 0: closed loop

	epoll   int
	events  []unix.EpollEvent
	buf     []byte
	records []byte // what is received in TLS
	conns   []conn
	alive   int
	start   time.Time
	random  *rand.Rand
	due     int64 // when the next command of an open loop has to leave
	turn    int   // which connection takes it
	stopped bool  // ask nothing more

	latency  histogram
	answered int64
	errors   int64
	fault    string // the first error
}

// outcome is what one run measured.
type outcome struct {
	commands int64 // answered rightly within the window
	served   int64 // those, and those of measure before and after it
	errors   int64 // wrong replies, lost connections, commands never answered
	fault    string
	usage    usage
	mallocs  float64 // of a holdfast, for all that were served; beyond mallocsGrain

	p50, p99, p999, max time.Duration
}

// newGenerator opens all connections of a class. The caller closes the generator.
func newGenerator(at door, c class) (*generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	g := &generator{
		script:   c.script(),
		pipeline: c.pipeline,
		epoll:    epoll,
		events:   make([]unix.EpollEvent, 512),
		buf:      make([]byte, readRoom),
		conns:    make([]conn, 0, c.conns),
		start:    time.Now(),
		random:   rand.New(rand.NewPCG(1, 2)), // the same arrivals for every endpoint
	}
	if at.tls != nil {
		g.records = make([]byte, recordsRoom)
	}
	room := 1
	for room < c.pipeline {
		room *= 2
	}
	if c.rate > 0 {
		g.gap, room = 1e9/c.rate, openLoopRoom
	}
	for i := range c.conns {
		if err := g.open(at, i, room); err != nil {
			g.close()
			return nil, fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return g, nil
}

func (g *generator) open(at door, index, room int) error {
	fd, err := dial(at.port, connTimeout)
	if err != nil {
		return err
	}
	first := index * g.pipeline % g.script.steps
	g.conns = append(g.conns, conn{fd: fd, next: first, reply: cursor{step: first}, asked: make([]int64, room)})
	g.alive++
	if at.tls != nil {
		t, err := handshake(socket(fd), at.tls)
		if err != nil {
			return err
		}
		t.detach()
		g.conns[index].tls = t
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return g.register(unix.EPOLL_CTL_ADD, index, unix.EPOLLIN)
}

func (g *generator) register(op, index int, events uint32) error {
	return unix.EpollCtl(g.epoll, op, g.conns[index].fd, &unix.EpollEvent{Events: events, Fd: int32(index)})
}

func (g *generator) close() {
	for i := range g.conns {
		if g.conns[i].fd >= 0 {
			unix.Close(g.conns[i].fd)
		}
	}
	unix.Close(g.epoll)
}

// now is the generator's clock in nanoseconds.
func (g *generator) now() int64 { return int64(time.Since(g.start)) }

// warm sets everything going and loads the endpoint for a while.
func (g *generator) warm(ctx context.Context, d time.Duration) error {
	g.begin()
	return g.drive(ctx, d)
}

// measure goes on for settle, then for window, and returns what happened in the
// window. Faults count from the very first command to the last answer.
func (g *generator) measure(ctx context.Context, m *meter, settle, window time.Duration) (outcome, error) {
	var o outcome
	served := g.answered
	if err := g.drive(ctx, settle); err != nil {
		return o, err
	}
	before, err := m.read()
	if err != nil {
		return o, err
	}
	served = g.answered - served
	g.latency, g.answered = histogram{}, 0
	if err := g.drive(ctx, window); err != nil {
		return o, err
	}
	after, err := m.read()
	if err != nil {
		return o, err
	}
	o.usage, o.commands = after.since(before), g.answered
	o.p50, o.p99 = g.latency.quantile(0.50), g.latency.quantile(0.99)
	o.p999, o.max = g.latency.quantile(0.999), time.Duration(g.latency.max)
	g.drain(ctx)
	o.served = served + g.answered
	o.errors, o.fault = g.errors, g.fault
	return o, nil
}

// begin starts every connection of a closed loop, or the clock of an open one.
func (g *generator) begin() {
	g.due = g.now()
	if g.gap > 0 {
		return
	}
	for i := range g.conns {
		g.ask(i, g.pipeline, g.now())
	}
}

// drive runs rounds for a while. It ends early when no connection is left.
func (g *generator) drive(ctx context.Context, d time.Duration) error {
	until := g.now() + int64(d)
	for g.alive > 0 {
		now := g.now()
		if now >= until {
			break
		}
		wake := until
		if g.gap > 0 {
			g.askDue(now)
			wake = min(until, g.due)
		}
		if err := g.round(time.Duration(wake - g.now())); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// drain waits for the answers that are still out, so that a run that ends does
// not weigh on the next, and counts those that never come.
func (g *generator) drain(ctx context.Context) {
	g.stopped = true
	for until := g.now() + int64(drainTimeout); g.now() < until && ctx.Err() == nil; {
		owed := 0
		for i := range g.conns {
			owed += g.conns[i].owed()
		}
		if owed == 0 {
			return
		}
		if g.round(50*time.Millisecond) != nil {
			return
		}
	}
	for i := range g.conns {
		if g.conns[i].owed() > 0 {
			g.fail(i, fmt.Sprintf("no answer within %v", drainTimeout))
		}
	}
}

// round waits for ready connections, at most for 100 ms, and serves each once.
func (g *generator) round(timeout time.Duration) error {
	n, errno := wait(g.epoll, g.events, min(timeout, 100*time.Millisecond))
	if errno == unix.EINTR {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("epoll_pwait2: %w", errno)
	}
	for _, e := range g.events[:n] {
		i := int(e.Fd)
		if e.Events&unix.EPOLLOUT != 0 {
			g.flush(i, true)
		}
		if e.Events&^unix.EPOLLOUT != 0 {
			g.receive(i)
		}
	}
	return nil
}

// askDue sends what an open loop owes: arrivals are a Poisson process over all
// connections in turn, and a command counts from when it was due, so neither a
// slow endpoint nor a late generator hides waiting.
func (g *generator) askDue(now int64) {
	for g.due <= now {
		if c := &g.conns[g.turn]; c.fd >= 0 {
			if c.owed() == len(c.asked) || len(c.unsent) > 0 {
				g.fail(g.turn, fmt.Sprintf("takes no more, with %d commands unanswered", c.owed()))
			} else {
				g.ask(g.turn, 1, g.due)
			}
		}
		if g.turn++; g.turn == len(g.conns) {
			g.turn = 0
		}
		g.due += int64(g.random.ExpFloat64() * g.gap)
	}
}

// ask sends a batch of n requests, which count from a moment.
func (g *generator) ask(index, n int, from int64) {
	c := &g.conns[index]
	mask := uint32(len(c.asked) - 1)
	for range n {
		c.asked[c.tail&mask] = from
		c.tail++
	}
	c.unsent = g.script.batch(c.next, n)
	c.next = (c.next + n) % g.script.steps
	if c.tls != nil {
		c.unsent = c.tls.seal(c.unsent)
	}
	g.flush(index, false)
}

// flush writes what the socket takes. waiting: epoll watches for room already.
func (g *generator) flush(index int, waiting bool) {
	c := &g.conns[index]
	if c.fd < 0 {
		return
	}
	n, errno := write(c.fd, c.unsent)
	switch errno {
	case 0:
		c.unsent = c.unsent[n:]
	case unix.EAGAIN, unix.EINTR:
	default:
		g.fail(index, "write: "+errno.Error())
		return
	}
	var err error
	switch more := len(c.unsent) > 0; {
	case more && !waiting:
		err = g.register(unix.EPOLL_CTL_MOD, index, unix.EPOLLIN|unix.EPOLLOUT)
	case !more && waiting:
		err = g.register(unix.EPOLL_CTL_MOD, index, unix.EPOLLIN)
	}
	if err != nil {
		g.fail(index, "epoll_ctl: "+err.Error())
	}
}

// receive reads once, counts the replies, and in a closed loop asks anew when
// the batch is complete.
func (g *generator) receive(index int) {
	c := &g.conns[index]
	if c.fd < 0 {
		return
	}
	n, why := g.take(c)
	if why != "" {
		g.fail(index, why)
	}
	if n == 0 {
		return
	}
	now := g.now()
	done, ok := g.script.match(&c.reply, g.buf[:n], c.owed())
	mask := uint32(len(c.asked) - 1)
	for range done {
		g.latency.add(now - c.asked[c.head&mask])
		c.head++
	}
	g.answered += int64(done)
	if !ok {
		g.fail(index, "wrong reply, in "+excerpt(g.buf[:n]))
		return
	}
	if c.owed() == 0 && g.gap == 0 && !g.stopped {
		g.ask(index, g.pipeline, now)
	}
}

// take reads once and puts what came into g.buf, in the clear; why is what failed.
// It may be nothing: half a record of TLS has no content yet.
func (g *generator) take(c *conn) (n int, why string) {
	into := g.buf
	if c.tls != nil {
		into = g.records
	}
	n, errno := read(c.fd, into)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, ""
	case errno != 0:
		return 0, "read: " + errno.Error()
	case n == 0:
		return 0, closed
	case c.tls == nil:
		return n, ""
	}
	n, err := c.tls.unseal(into[:n], g.buf)
	switch err {
	case nil:
		return n, ""
	case io.EOF:
		return 0, closed
	}
	return 0, "TLS: " + err.Error()
}

const closed = "closed by the endpoint"

// fail gives a connection up: behind a wrong reply nothing can be believed.
// Each command it still owes an answer to is an error, and at least one.
func (g *generator) fail(index int, why string) {
	c := &g.conns[index]
	g.errors += int64(max(c.owed(), 1))
	if g.fault == "" {
		g.fault = why
	}
	unix.Close(c.fd)
	c.fd, c.head, c.unsent = -1, c.tail, nil
	g.alive--
}
