package proxy

import (
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// drain begins the end; the channel is closed when Run has returned.
func (w *world) drain() <-chan struct{} {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		w.stop()
		close(done)
	}()
	eventually(w.t, "the drain to begin", func() bool {
		return w.p.Stats().Draining && w.drained(func(l *loop) bool { return l.draining })
	})
	return done
}

// drained asks all loops.
func (w *world) drained(is func(*loop) bool) bool {
	all := true
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) { all = all && is(l) })
	}
	return all
}

func (w *world) ends(done <-chan struct{}) {
	w.t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		w.t.Fatal("the drain does not end")
	}
}

func longDrain(cfg *config.Config) { cfg.Drain.Timeout = config.Duration(10 * patience) }

func TestDrainEndsWhoIsAtRest(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, longDrain)
	idle, fresh, subscriber, watching := w.dial(), w.dial(), w.dial(), w.dial()
	idle.want(pong, "PING")
	subscriber.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
	watching.want(ok, "WATCH", "k")
	done := w.drain()
	for _, c := range []*client{idle, fresh, subscriber, watching} {
		c.expectEnd()
	}
	w.ends(done)
	if nc, err := net.Dial("tcp", w.addr); err == nil {
		nc.Close()
		t.Error("new clients are still accepted")
	}
	if st := w.counters(); st.Closed["drain"] != 4 || st.Cut != 0 {
		t.Errorf("%+v", st)
	}
}

func TestDrainLetsACommandComplete(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, longDrain)
	blocked, half := w.dial(), w.dial()
	blocked.send(lines("BLPOP queue 0"))
	w.blocked(node, 1)
	half.want(pong, "PING")
	half.send("*2\r\n$4\r\nECHO\r\n$5\r\nhe")
	eventually(t, "half a command", func() bool { in, _ := w.held(); return in > 0 })
	done := w.drain()
	half.send("llo\r\n")
	half.expect(bulk("hello"))
	half.expectEnd()
	w.do(node, "RPUSH", "queue", "x")
	blocked.expect(array(bulk("queue"), bulk("x")))
	blocked.expectEnd()
	w.ends(done)
}

func TestDrainWaitsForATransaction(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, longDrain)
	c, d := w.dial(), w.dial()
	for _, c := range []*client{c, d} {
		c.send(lines("MULTI", "INCR n"))
		c.expect(ok, queued)
	}
	done := w.drain()
	c.want(queued, "INCR", "n")
	c.want(array(integer(1), integer(2)), "EXEC")
	c.expectEnd()
	d.want(ok, "DISCARD")
	d.expectEnd()
	w.ends(done)
}

// TestDrainGivesWhatIsOwed: the replies of a client that reads slowly are still
// delivered.
func TestDrainGivesWhatIsOwed(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, longDrain)
	c := w.dial()
	big := strings.Repeat("v", 3<<20)
	c.want(ok, "SET", "k", big)
	c.send(strings.Repeat(line("GET k"), 5))
	eventually(t, "the replies to stand", func() bool { _, out := w.held(); return out > 1<<20 })
	done := w.drain()
	for range 5 {
		c.expect(bulk(big))
	}
	c.expectEnd()
	w.ends(done)
}

func TestDrainEndsAtItsDeadline(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) { cfg.Drain.Timeout = config.Duration(100 * time.Millisecond) })
	c, d, e := w.dial(), w.dial(), w.dial()
	c.send(line("BLPOP queue 0"))
	w.blocked(node, 1)
	d.want(ok, "MULTI")
	e.want(pong, "PING")
	e.send("*1\r\n$4\r\nPI")
	done := w.drain()
	for _, c := range []*client{c, d} {
		c.expectEnd()
	}
	w.ends(done)
	if st := w.counters(); st.Closed["drain_deadline"] < 2 || st.Cut != 1 {
		t.Errorf("%+v", st)
	}
	w.blocked(node, 0)
}

// TestDrainWithoutAMaster: who waits for one is not waited for beyond the
// deadline, and is answered if it comes.
func TestDrainWithoutAMaster(t *testing.T) {
	w, _, b := twoNodes(t, longDrain, func(cfg *config.Config) { cfg.Failover.FenceTimeout = config.Duration(patience) })
	c, idle := w.dial(), w.dial()
	c.want(pong, "PING")
	idle.want(pong, "PING")
	w.fence()
	c.send(line("SET k 1"))
	eventually(t, "a client that waits", func() bool { return w.p.Stats().Masters[0].Waiting == 1 })
	done := w.drain()
	idle.expectEnd()
	w.move(b.Addr())
	c.expect(ok)
	c.expectEnd()
	w.ends(done)
}

// TestDrainWithATimeoutOfNothing cuts everybody at once.
func TestDrainWithATimeoutOfNothing(t *testing.T) {
	w, a, _ := twoNodes(t, func(cfg *config.Config) { cfg.Drain.Timeout = 0 })
	a.Handle("GET", redistest.Hang)
	c := w.dial()
	c.send(line("GET k"))
	w.await(a, "GET")
	w.ends(w.drainNow())
	c.expectEnd()
}

// drainNow is drain where the end may come before anybody sees its beginning.
func (w *world) drainNow() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		w.stop()
		close(done)
	}()
	return done
}
