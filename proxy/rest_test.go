package proxy

import (
	"context"
	"testing"
	"time"
)

// rest waits for so long, which a test can afford not to see the end of.
func (w *world) rest(within time.Duration) error {
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	return w.p.Rest(ctx, masterName)
}

// TestRest: what waits for an answer is under way; what only waits for somebody
// else to write is not, unless there is more behind it.
func TestRest(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	a, b := w.dial(), w.dial()
	a.want(pong, "PING")
	if err := w.rest(patience); err != nil {
		t.Errorf("with nobody busy: %v", err)
	}
	if err := w.p.Rest(w.ctx, "another"); err != nil {
		t.Errorf("of a master that is none: %v", err)
	}
	a.send(line("BLPOP queue 0"))
	w.blocked(node, 1)
	if err := w.rest(patience); err != nil {
		t.Errorf("with a client that waits: %v", err)
	}
	a.send(line("PING"))
	eventually(t, "the PING to be behind it", func() bool { return w.rest(20*time.Millisecond) != nil })
	b.want(integer(1), "RPUSH", "queue", "x")
	a.expect(array(bulk("queue"), bulk("x")), pong)
	if err := w.rest(patience); err != nil {
		t.Errorf("with all answered: %v", err)
	}
}
