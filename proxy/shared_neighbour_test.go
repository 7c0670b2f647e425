package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// TestNobodyWaitsBehindAStranger: while commands hang on shared upstreams others
// go on over a few more, and come back when the first has caught up.
func TestNobodyWaitsBehindAStranger(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	quick := w.dial()
	quick.want(ok, "SET", "k", "v")
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	var waiting []*client
	for i := range mostShared - 1 {
		c := w.dial()
		c.send(line("GET k"))
		eventually(t, "the command to arrive", func() bool { return a.Count("GET") == i+1 })
		waiting = append(waiting, c)
		w.stalledAre(i + 1)
		quick.want(ok, "SET", "k", fmt.Sprint(i))
		w.dial().want(pong, "PING")
	}
	last := w.dial()
	last.send(line("GET k"))
	eventually(t, "the command to arrive", func() bool { return a.Count("GET") == mostShared })
	w.allStalled()
	for range 10 { // there are no more: these wait
		c := w.dial()
		c.send(line("GET k"))
		waiting = append(waiting, c)
	}
	w.onLoop(w.p.loops[0], func(*loop) {})
	if st := w.p.Stats(); st.Shared > mostShared {
		t.Errorf("%d shared upstreams", st.Shared)
	}
	w.unmixed()
	slow.open()
	for _, c := range append(waiting, last) {
		c.expect(bulk("slow"))
	}
	eventually(t, "all to be back on the first one", func() bool {
		for _, c := range append(waiting, last, quick) {
			c.want(pong, "PING")
		}
		busy := 0
		w.upstreamsOf(func(u *upstream) {
			if u.share.members > 3 { // those that said PING once and no more stay where they were
				busy++
			}
		})
		return busy == 1
	})
}

// stalledAre waits until so many shared upstreams have stalled.
func (w *world) stalledAre(n int) {
	w.t.Helper()
	eventually(w.t, "shared upstreams to stall", func() bool {
		stalled := 0
		w.upstreamsOf(func(u *upstream) {
			if u.share.stalled(time.Now()) {
				stalled++
			}
		})
		return stalled == n
	})
}

// TestScriptThatRunsForEverCanBeKilled by somebody on the same proxy.
func TestScriptThatRunsForEverCanBeKilled(t *testing.T) {
	node := realRedis(t, "--busy-reply-threshold", "50")
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	c.want(pong, "PING")
	d.want(pong, "PING")
	c.cmd("EVAL", "while true do end", "0")
	w.allStalled() // who was quicker is behind it
	eventually(t, "Redis to be busy", func() bool { return strings.HasPrefix(d.ask("GET", "k"), "-BUSY ") })
	d.want(ok, "SCRIPT", "KILL")
	c.expectPrefix("-ERR Script killed by user")
	d.want("$-1\r\n", "GET", "k")
	c.want(pong, "PING")
}

// TestReadsGoOnWhileWritesArePaused: as they do on connections of their own.
func TestReadsGoOnWhileWritesArePaused(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	d.want(ok, "SET", "k", "v")
	w.do(node, "CLIENT", "PAUSE", "60000", "WRITE")
	c.send(line("SET k w"))
	w.blocked(node, 1)
	w.allStalled() // who was quicker is behind it
	for range 20 {
		d.want(bulk("v"), "GET", "k")
	}
	w.do(node, "CLIENT", "UNPAUSE")
	c.expect(ok)
	d.want(bulk("w"), "GET", "k")
}

// TestOwnerOfALargeReplyVanishes in the middle of it: the rest of it is nobody's,
// and what follows is everybody else's.
func TestOwnerOfALargeReplyVanishes(t *testing.T) {
	for _, size := range []int{1000, keepReply - 10, keepReply + 10, 1 << 20, 5 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w, a, _ := twoNodes(t)
			value := strings.Repeat("m", size)
			half, rest := make(chan struct{}), make(chan struct{})
			a.Handle("GET", func(c *redistest.Conn, args []string) {
				frame := bulk(value)
				c.WriteRaw([]byte(frame[:len(frame)/2]))
				if c.Flush() != nil {
					return
				}
				close(half)
				select {
				case <-rest:
				case <-c.Done():
				}
				c.WriteRaw([]byte(frame[len(frame)/2:]))
			})
			c := w.dial()
			c.send(lines("GET k", "ECHO mine"))
			<-half
			others := w.together(10, func(i int) string { return lines(fmt.Sprint("ECHO ", i), fmt.Sprintf("SET k%d %d", i, i)) })
			eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 22 && !w.unsent() })
			c.reset()
			eventually(t, "it to be gone", func() bool { return w.p.Stats().Clients == len(others) })
			close(rest)
			for i, o := range others {
				o.expect(bulk(fmt.Sprint(i)), ok)
			}
			if st := w.counters(); st.Unexpected > 0 || st.Refused["uncertain"] > 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestLargeRepliesReachTheirOwner between small ones of others.
func TestLargeRepliesReachTheirOwner(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	sizes := []int{0, 1, keepReply - 20, keepReply, keepReply + 1, readBuffer - 30, readBuffer, readBuffer + 1, 1 << 20}
	for i, n := range sizes {
		w.dial().want(ok, "SET", fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i%10), n))
	}
	stop, ended := make(chan struct{}), make(chan string)
	const counting = 4
	for i := range counting {
		go w.count(w.dial(), fmt.Sprint("n", i), stop, ended)
	}
	for round := range 20 {
		c := w.dial()
		c.want(pong, "PING")
		var say []string
		for i := range sizes {
			say = append(say, fmt.Sprint("GET k", i), fmt.Sprint("ECHO ", round))
		}
		c.send(lines(say...))
		for i, n := range sizes {
			c.expect(bulk(strings.Repeat(fmt.Sprint(i%10), n)), bulk(fmt.Sprint(round)))
		}
	}
	close(stop)
	for range counting {
		if wrong := <-ended; wrong != "" {
			t.Error(wrong)
		}
	}
}

// TestSlowReaderBesideAQuickOne: who does not read what it has asked for keeps
// nobody else waiting, and gets all of it when it reads.
func TestSlowReaderBesideAQuickOne(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) { cfg.Limits.ClientBuffer = 64 << 10 })
	value := strings.Repeat("v", 60000) // small enough to be shared for ever
	w.dial().want(ok, "SET", "k", value)
	slow, quick := w.dial(), w.dial()
	quick.want(pong, "PING")
	const asked = 300
	slow.send(strings.Repeat(line("GET k"), asked))
	eventually(t, "its socket to be full", func() bool { _, out := w.held(); return out > 64<<10 })
	for i := range 200 {
		quick.want(integer(i+1), "INCR", "n")
	}
	for range 3 { // and those who come now
		w.dial().want(pong, "PING")
	}
	for i := range asked {
		if got := slow.read(); got != bulk(value) {
			t.Fatalf("reply %d: %q", i, cropped(got))
		}
	}
	slow.want(pong, "PING")
	if st := w.counters(); st.Closed["slow"] > 0 {
		t.Errorf("%+v", st.Closed)
	}
}

// TestSlowReaderIsReadForNoMoreThanItHolds: alone on its upstream, the pressure
// reaches Redis.
func TestSlowReaderIsReadForNoMoreThanItHolds(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) { cfg.Limits.ClientBuffer = 64 << 10 })
	value := strings.Repeat("v", 60000)
	slow := w.dial()
	slow.want(ok, "SET", "k", value)
	const asked = 1500
	go slow.nc.Write([]byte(strings.Repeat(line("GET k"), asked)))
	eventually(t, "its socket to be full", func() bool { _, out := w.held(); return out > 64<<10 })
	if _, out := w.held(); out > 16<<20 {
		t.Errorf("%d bytes are kept for it", out)
	}
	for i := range asked {
		if got := slow.read(); got != bulk(value) {
			t.Fatalf("reply %d: %q", i, cropped(got))
		}
	}
}

// TestDrainOfSharedSessions: what is under way is answered, idle ones end, and
// nothing of what they shared is left.
func TestDrainOfSharedSessions(t *testing.T) {
	w, a, _ := twoNodes(t, longDrain)
	idle := w.dial()
	idle.want(ok, "SET", "k", "v")
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	all := w.together(8, func(i int) string { return lines("GET k", fmt.Sprint("ECHO ", i)) })
	eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 17 && !w.unsent() })
	done := w.drain()
	idle.expectEnd()
	slow.open()
	for i, c := range all {
		c.expect(bulk("slow"), bulk(fmt.Sprint(i)))
		c.expectEnd()
	}
	w.ends(done)
	if st := w.p.Stats(); st.Shared != 0 || st.Upstreams != 0 {
		t.Errorf("%d upstreams, %d shared", st.Upstreams, st.Shared)
	}
}

// TestHalfClosedSharedClientGetsItsAnswers, and nobody else notices.
func TestHalfClosedSharedClientGetsItsAnswers(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	stays := w.dial()
	stays.want(pong, "PING")
	for i := range 20 {
		c := w.dial()
		c.send(lines("SET k "+fmt.Sprint(i), "GET k", "INCR n", "ECHO end"))
		c.shutWrite()
		c.expect(ok, bulk(fmt.Sprint(i)), integer(i+1), bulk("end"))
		c.expectEnd()
		stays.want(pong, "PING")
	}
}
