package proxy

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/config"
)

// unread is what the loops keep for clients that do not read, in sum.
func (w *world) unread() (n int) {
	w.t.Helper()
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) { n += l.books().unread })
	}
	return n
}

// readAll reads n replies that are all the same, and tells whether all came.
func (c *client) readAll(n int, frame string) bool {
	c.t.Helper()
	for i := range n {
		got, err := c.next()
		if err != nil {
			return false
		}
		if got != frame {
			c.t.Fatalf("reply %d: %q", i, cropped(got))
		}
	}
	return true
}

// TestWhatManyDoNotReadIsBounded in sum, whether strangers wait behind them or
// not; who is not cut for it loses nothing.
func TestWhatManyDoNotReadIsBounded(t *testing.T) {
	for _, between := range []bool{false, true} {
		t.Run(fmt.Sprint("strangers between=", between), func(t *testing.T) {
			const bound = 8704 << 10 // more than any one of them asks for
			w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) {
				cfg.Limits.ClientBuffer, cfg.Hold.MaxBytes = 512<<10, bound
			})
			value := strings.Repeat("v", 60000) // small enough to be shared for ever
			quick := w.dial()
			quick.want(ok, "SET", "k", value)
			const asked, many = 120, 24
			var all []*client
			for range many {
				before, cut := w.unread(), w.counters().Closed["slow"]
				c := w.dial()
				c.send(strings.Repeat(line("GET k"), asked))
				all = append(all, c)
				eventually(t, "its socket to be full", func() bool {
					if between {
						quick.want(pong, "PING")
					}
					return w.unread() > before || w.counters().Closed["slow"] > cut
				})
			}
			quick.want(pong, "PING")
			if n := w.unread(); n > bound {
				t.Errorf("%d bytes are kept", n)
			}
			cut := 0
			for _, c := range all {
				if !c.readAll(asked, bulk(value)) {
					cut++
					continue
				}
				c.want(pong, "PING")
			}
			if got := w.counters().Closed["slow"]; got != uint64(cut) || cut == many {
				t.Errorf("%d of %d were cut, and %d counted", cut, many, got)
			}
		})
	}
}

// TestNobodyIsReadForBeforeSomebodyIsCut: the pressure reaches Redis, where that
// keeps nobody else waiting, and in the end everybody has what he asked for.
func TestNobodyIsReadForBeforeSomebodyIsCut(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) {
		cfg.Limits.ClientBuffer, cfg.Hold.MaxBytes = 1<<20, 64<<10 // in sum it is what one may have
		cfg.Listeners[0].Mode = config.Dedicated
	})
	value := strings.Repeat("v", 5<<20)
	quick := w.dial()
	quick.want(ok, "SET", "k", value)
	const asked, many = 3, 20
	var slow []*client
	for range many {
		c := w.dial()
		c.send(strings.Repeat(line("GET k"), asked))
		slow = append(slow, c)
	}
	eventually(t, "all to be held back", func() bool {
		n := 0
		w.onLoop(w.p.loops[0], func(l *loop) {
			for _, slot := range l.slots {
				if slot.u != nil && slot.u.throttled {
					n++
				}
			}
		})
		return n == many
	})
	quick.want(pong, "PING")
	for _, c := range slow {
		if !c.readAll(asked, bulk(value)) {
			t.Fatalf("cut: %v", w.counters().Closed)
		}
	}
}
