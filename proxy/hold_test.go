package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
)

func TestCommandsAreHeldWhileFenced(t *testing.T) {
	w, a, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	w.fence()
	c.cmd("SET", "k", "2")
	c.cmd("GET", "k")
	eventually(t, "a client that waits", func() bool { return w.p.Stats().Masters[0].Waiting == 1 })
	w.move(b.Addr())
	c.expect(ok, bulk("2"))
	if got := heard(a); !slices.Equal(got, []string{"SET k 1"}) {
		t.Errorf("the old master received %q", got)
	}
}

func TestHoldExpires(t *testing.T) {
	w, a, b := twoNodes(t, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(100e6) })
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	w.fence()
	c.cmd("SET", "k", "2")
	c.cmd("SET", "k", "3")
	for range 2 {
		got := c.expectPrefix("-MASTERDOWN ")
		for _, part := range []string{masterName, "failover", "not executed", "after waiting 1"} {
			if !strings.Contains(got, part) {
				t.Errorf("%q does not tell %q", got, part)
			}
		}
	}
	w.move(b.Addr())
	c.want("$-1\r\n", "GET", "k")
	if got := heard(a); !slices.Equal(got, []string{"SET k 1"}) {
		t.Errorf("the old master received %q", got)
	}
	if got := heard(b); !slices.Equal(got, []string{"GET k"}) {
		t.Errorf("the new master received %q", got)
	}
}

func TestClientGoneWhileHeldIsLetGo(t *testing.T) {
	w, _, _ := twoNodes(t)
	c, d := w.dial(), w.dial()
	for _, c := range []*client{c, d} {
		c.want(ok, "SET", "k", "1")
	}
	w.fence()
	c.cmd("SET", "k", "2")
	d.cmd("SET", "k", "2")
	eventually(t, "clients that wait", func() bool { return w.p.Stats().Masters[0].Waiting == 2 })
	c.close()
	d.reset()
	eventually(t, "both to be let go", func() bool { return w.p.Stats().Clients == 0 })
}

func TestPreparationAtAHungMasterIsAbandoned(t *testing.T) {
	w, a, b := twoNodes(t, func(cfg *config.Config) {
		cfg.Sentinel.Timeout = config.Duration(10 * patience)
		cfg.Failover.FenceTimeout = config.Duration(10 * patience)
		cfg.Listeners[0].Mode = config.Dedicated
	})
	a.Silence(true)
	var clients []*client
	for range maxPreparing + 10 {
		c := w.dial()
		c.send(line("SET k 1"))
		clients = append(clients, c)
	}
	eventually(t, "all places to be taken", func() bool { return w.preparing() == maxPreparing })
	w.move(b.Addr())
	for _, c := range clients {
		c.expect(ok)
	}
	eventually(t, "what was begun to have ended", func() bool { return w.preparing() == 0 })
}

func (w *world) preparing() (n int) {
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) { n += l.preparing })
	}
	return n
}

func TestLargeCommandInterrupted(t *testing.T) {
	w, a, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	half := strings.Repeat("x", 1<<20)
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", 2*len(half)) + half)
	eventually(t, "a part to have left", func() bool {
		some := false
		w.onLoop(w.p.loops[0], func(l *loop) {
			for _, slot := range l.slots {
				some = some || slot.s != nil && slot.s.streamed
			}
		})
		return some
	})
	w.move(b.Addr())
	c.send(half + "\r\n" + line("GET k"))
	if got := c.expectPrefix("-MASTERDOWN "); !strings.Contains(got, "not executed") {
		t.Errorf("%q", got)
	}
	c.expect("$-1\r\n")
	if a.Data()["k"] != "1" || len(heard(b)) != 1 {
		t.Errorf("the old master has %q, the new one received %q", a.Data()["k"], heard(b))
	}
}

func TestLargeCommandUnansweredIsUncertain(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("SET", redistest.Hang)
	c := w.dial()
	c.send(string(command("SET", "k", strings.Repeat("x", 300000))) + line("GET k"))
	w.await(a, "SET")
	w.move(b.Addr())
	c.expectPrefix("-UNCERTAIN ")
	c.expect("$-1\r\n")
}

func TestLargeCommandIsHeldWhole(t *testing.T) {
	w, _, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	w.fence()
	eventually(t, "the upstream to be left", func() bool { return w.p.Stats().Upstreams == 0 })
	value := strings.Repeat("x", 300000)
	c.cmd("SET", "k", value)
	c.cmd("GET", "k")
	w.move(b.Addr())
	c.expect(ok, bulk(value))
}

func TestTheTailOfALargeCommandIsNeverSent(t *testing.T) {
	for _, open := range []bool{false, true} {
		w, a, b := twoTransactionalNodes(t)
		a.Handle("SET", redistest.Hang)
		c := w.dial()
		if open {
			c.want(ok, "MULTI")
		}
		value := strings.Repeat("\r\nGET tail\r\n", 40000)
		c.send(string(command("SET", "k", value)) + lines("GET a", "GET b"))
		w.await(a, "SET")
		w.move(b.Addr())
		c.expectPrefix("-UNCERTAIN ")
		for range 2 {
			c.read()
		}
		for _, line := range heard(b) {
			if strings.Contains(line, "tail") {
				t.Fatalf("the new master received %q", cropped(line))
			}
		}
		c.close()
	}
}
