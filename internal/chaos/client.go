package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// arena is what all clients of one run share. It does not change, but for the
// channels, which are closed in this order.
type arena struct {
	dial     func(context.Context) (net.Conn, error) // to the endpoint
	began    time.Time
	patience time.Duration // how long a client waits for a reply, before it calls the command hung
	slowdown int           // factor for every client's pace: more clients, the same load

	stop  chan struct{} // no more work: sources end
	drain chan struct{} // all sources have ended: sinks take what is under way and end
}

func (a *arena) clock() time.Duration { return time.Since(a.began) }

// player is one client program.
type player interface {
	play()             // until stop or drain
	identity() *client // its connection and evidence
	source() bool      // ends at stop; a sink ends at drain
}

// client is one connection and what it saw. When it is cut it connects again,
// and it never sends a command twice.
type client struct {
	*arena
	evidence
	name  string
	conn  *conn       // nil while there is none
	greet func() bool // sets up the session of a new connection
	shy   bool        // the last connection broke: wait before the next

	started sync.Once
	going   chan struct{} // closed after the first right reply
}

func (c *client) identity() *client { return c }
func (c *client) source() bool      { return true }

// redial is the pause after a connection broke or could not be opened. Without it
// an endpoint that accepts and cuts would be asked so often that the Sentinels
// starve on a small machine.
const redial = 50 * time.Millisecond

// every calls turn about once per pause, with a connection whose session is set
// up, until stop.
func (c *client) every(pause time.Duration, turn func()) {
	tick := time.NewTicker(pause * time.Duration(c.slowdown))
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			if c.ready() {
				turn()
			}
		}
	}
}

// ready connects and sets up the session, unless that is done.
func (c *client) ready() bool {
	if c.conn != nil {
		return true
	}
	if c.shy {
		time.Sleep(redial)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	nc, err := c.dial(ctx)
	c.shy = true
	if err != nil {
		c.refused++
		return false
	}
	c.conn = newConn(nc)
	if c.greet != nil && !c.greet() {
		c.hangUp()
		return false
	}
	c.shy = false
	return true
}

// hangUp closes the connection of our own will.
func (c *client) hangUp() {
	if c.conn != nil {
		c.conn.close()
		c.conn = nil
	}
}

// broken notes why there is no reply, and closes.
func (c *client) broken(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.hung++
	default:
		c.cuts = append(c.cuts, c.clock())
	}
	c.hangUp()
	c.shy = true
}

// do sends a command and waits for its reply. Without one it returns false, and
// the connection is gone.
func (c *client) do(args ...string) (reply, bool) {
	began := c.clock()
	c.conn.queue(args...)
	if err := c.conn.flush(c.patience); err != nil {
		c.broken(err)
		return reply{}, false
	}
	return c.receive(began)
}

// receive waits for the reply to a command sent at began.
func (c *client) receive(began time.Duration) (reply, bool) {
	r, err := c.conn.receive(c.patience)
	if err != nil {
		c.broken(err)
		return reply{}, false
	}
	c.slowest = max(c.slowest, c.clock()-began)
	if r.failed() {
		c.fault(r.text)
	}
	return r, true
}

// samples bounds the wrong replies that one client remembers.
const samples = 100

// mistaken notes a reply that cannot be the answer to its command. What follows
// on this connection could not be told from answers, so it is closed.
func (c *client) mistaken(r reply, command string) {
	if len(c.wrong) < samples {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %s answered %.80s", c.name, command, r))
	}
	c.hangUp()
}

// right notes a reply that is an answer to its command.
func (c *client) right() {
	c.answers++
	c.started.Do(func() { close(c.going) })
}

// ask sends a command that has no effect. It returns false without a reply, with
// an error, or with a reply that wanted does not accept, which is then a wrong one.
func (c *client) ask(wanted func(reply) bool, args ...string) (reply, bool) {
	r, ok := c.do(args...)
	return r, ok && c.settle(r, wanted, args[0]) == acked
}

// settle says what a reply means for its command.
func (c *client) settle(r reply, wanted func(reply) bool, command string) outcome {
	switch {
	case r.failed() && prefixed(r.text, uncertain):
		return unknown
	case r.failed():
		return refused
	case !wanted(r):
		c.mistaken(r, command)
		return unknown
	}
	c.right()
	return acked
}

// write sends a command that leaves id in s, and records what became of it.
func (c *client) write(s *series, id string, wanted func(reply) bool, args ...string) outcome {
	began := c.clock()
	o := unknown
	if r, ok := c.do(args...); ok {
		o = c.settle(r, wanted, args[0])
	}
	s.record(id, began, c.clock(), o)
	return o
}

// newSeries makes a series of this client.
func (c *client) newSeries(key string) *series {
	s := &series{key: key}
	c.series = append(c.series, s)
	return s
}

// prefixed says whether an error text begins with this word.
func prefixed(text, word string) bool {
	return text == word || len(text) > len(word) && text[:len(word)+1] == word+" "
}

// The replies that commands are known by.

func isOK(r reply) bool      { return r.kind == '+' && r.text == "OK" }
func isInteger(r reply) bool { return r.kind == ':' }
func isQueued(r reply) bool  { return r.kind == '+' && r.text == "QUEUED" }

// isText says whether the reply is this very text.
func isText(text string) func(reply) bool {
	return func(r reply) bool { return (r.kind == '$' || r.kind == '+') && r.text == text }
}

// isBulk says whether the reply is a bulk string or null.
func isBulk(r reply) bool { return r.kind == '$' || r.kind == '_' }
