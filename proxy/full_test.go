package proxy

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// What stands behind a socket that is full, above all when TLS has been made of it:
// it is written once, in its order and to its end, or known not to have been.

// solo runs f with the only upstream that is a session's own.
func (w *world) solo(f func(u *upstream, s *session)) {
	w.t.Helper()
	w.onLoop(w.p.loops[0], func(l *loop) {
		if s := l.only(); s != nil && s.up != nil && s.up.share == nil {
			f(s.up, s)
		}
	})
}

// TestSilentCommandsBehindAFullSocket are written although nobody waits for an
// answer to them.
func TestSilentCommandsBehindAFullSocket(t *testing.T) {
	w, a, _ := twoNodes(t)
	var sets atomic.Int64
	a.Handle("SET", func(*redistest.Conn, []string) { sets.Add(1) })
	a.Handle("CLIENT", func(*redistest.Conn, []string) {})
	gate := w.shut(a, "DEL", func(*redistest.Conn, []string) {})
	c := w.dial()
	c.send(lines("CLIENT REPLY OFF", "DEL x"))
	w.await(a, "DEL")
	value := strings.Repeat("v", 50000)
	sent := int64(0)
	for full := false; !full; sent++ {
		before := w.counters().Accepted
		c.cmd("SET", "k", value)
		eventually(t, "a SET to be accepted", func() bool { return w.counters().Accepted > before })
		w.solo(func(u *upstream, _ *session) { full = u.full })
	}
	gate.open()
	eventually(t, "all to arrive", func() bool { return sets.Load() == sent })
}

// TestEndBehindAFullSocket: a client has closed its side, and what it sent is
// executed to the last before its node is told of that.
func TestEndBehindAFullSocket(t *testing.T) {
	w, a, _ := twoNodes(t)
	gate := w.shut(a, "BLPOP", func(c *redistest.Conn, _ []string) { c.WriteNull() })
	c := w.dial()
	c.cmd("BLPOP", "x", "0")
	w.await(a, "BLPOP")
	w.solo(func(u *upstream, _ *session) {
		syscall.SetsockoptInt(u.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096)
	})
	set := string(command("SET", "k", strings.Repeat("v", 55000)))
	c.send(set + set + line("QUIT"))
	eventually(t, "the socket to be full", func() (full bool) {
		w.solo(func(u *upstream, s *session) { full = u.full && s.stalled })
		return full
	})
	c.shutWrite()
	eventually(t, "the end to be seen", func() (seen bool) {
		w.solo(func(_ *upstream, s *session) { seen = s.gone })
		return seen
	})
	gate.open()
	c.expect("$-1\r\n", ok, ok, ok)
	c.expectEnd()
}

// TestWriteThatFailsInItsMiddle: what left before is not sent again.
func TestWriteThatFailsInItsMiddle(t *testing.T) {
	a := redistest.NewScriptedNode(t)
	var ran atomic.Int64
	a.Handle("INCR", func(c *redistest.Conn, _ []string) {
		if n := ran.Add(1); n > 1 {
			c.WriteInt(int(n))
			return
		}
		c.Reset()
	})
	w := newWorld(t, a.Addr())
	w.nodes = append(w.nodes, a)
	set := string(command("SET", "k", strings.Repeat("v", 55000)))
	for range 60 {
		ran.Store(0)
		c := w.dial()
		c.want(pong, "PING")
		entered, sent := make(chan struct{}), make(chan struct{})
		w.p.loops[0].post(func(*loop) { close(entered); <-sent })
		<-entered
		c.send(line("INCR n") + set + set) // it is found all at once
		close(sent)
		if got := c.read(); ran.Load() > 1 && !strings.HasPrefix(got, "-UNCERTAIN ") {
			t.Fatalf("INCR was executed %d times, and answered %q", ran.Load(), got)
		}
		c.close()
	}
}

// TestFenceBehindAFullSocket: what was not written is not under way, and is
// executed by the next master.
func TestFenceBehindAFullSocket(t *testing.T) {
	onlyShared(t)
	w, a, b := twoNodes(t, longFence)
	b.Handle("SET", redistest.OK)
	gate := w.shut(a, "SET", redistest.OK)
	all, _ := w.crowd()
	w.fence()
	gate.open()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.p.Rest(ctx, masterName); err != nil {
		t.Error(err)
	}
	w.move(b.Addr())
	for _, c := range all {
		c.expect(ok)
	}
}

// TestIdleClientAsksForNothing, in the clear or not: not for a master, not for an
// upstream, and not for the time to finish.
func TestIdleClientAsksForNothing(t *testing.T) {
	for _, mode := range []config.Mode{config.Shared, config.Dedicated} {
		w, _, _ := twoNodes(t, longFence, overTLS, longDrain, func(cfg *config.Config) { cfg.Listeners[0].Mode = mode })
		before := w.p.Stats().Upstreams
		w.dial()
		eventually(t, "the client", func() bool { return w.p.Stats().Listeners[0].Clients == 1 })
		w.onLoop(w.p.loops[0], func(*loop) {})
		if n := w.p.Stats().Upstreams; n != before {
			t.Errorf("%s: %d upstreams for a client that has said nothing", mode, n-before)
		}
		w.fence()
		w.dial()
		eventually(t, "another", func() bool { return w.p.Stats().Listeners[0].Clients == 2 })
		w.onLoop(w.p.loops[0], func(*loop) {})
		if n := w.p.Stats().Masters[0].Waiting; n != 0 {
			t.Errorf("%s: %d clients wait that have said nothing", mode, n)
		}
		begun := time.Now()
		w.stop()
		if st := w.counters(); st.Closed["drain"] != 2 {
			t.Errorf("%s: after %v: %v", mode, time.Since(begun), st.Closed)
		}
	}
}
