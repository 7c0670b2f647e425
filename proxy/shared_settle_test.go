package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// together has n clients whose first command waits for an answer on the same
// shared upstream, with what each says behind it.
func (w *world) together(n int, say func(i int) string) (all []*client) {
	w.t.Helper()
	all = w.dialMany(n)
	for i, c := range all {
		c.send(say(i))
	}
	return all
}

// dialMany returns when all are accepted.
func (w *world) dialMany(n int) (all []*client) {
	w.t.Helper()
	for range n {
		all = append(all, w.dial())
	}
	w.onLoop(w.p.loops[0], func(*loop) {})
	return all
}

// TestEachClientIsSettledByItsOwnRule when the master changes under many that
// have something under way: in order, with nothing of anybody else's.
func TestEachClientIsSettledByItsOwnRule(t *testing.T) {
	onlyShared(t)
	for _, end := range []string{"moved", "cut"} {
		t.Run(end, func(t *testing.T) {
			w, a, b := twoNodes(t)
			for _, n := range []*redistest.ScriptedNode{a, b} {
				n.Handle("GET", func(c *redistest.Conn, args []string) { c.WriteBulkString("value of " + args[1]) })
			}
			w.shut(a, "GET", redistest.OK)
			first := w.dial()
			first.send(line("GET first"))
			w.await(a, "GET")
			says := func(i int) string {
				return [...]string{
					lines(fmt.Sprint("GET r", i)),
					lines(fmt.Sprint("INCR w", i)),
					lines(fmt.Sprint("GET r", i), fmt.Sprint("INCR w", i), fmt.Sprint("GET s", i)),
					lines(fmt.Sprint("INCR w", i), fmt.Sprint("ECHO e", i), fmt.Sprint("INCR v", i), fmt.Sprint("GET s", i)),
				}[i%4]
			}
			all := w.together(24, says)
			eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 1+6*(1+1+3+4) && !w.unsent() })
			if end == "cut" {
				a.Handle("GET", redistest.Cut)
				a.Cut()
			}
			w.move(b.Addr())
			first.expect(bulk("value of first"))
			read := func(c *client, name string, i int) { t.Helper(); c.expect(bulk(fmt.Sprintf("value of %s%d", name, i))) }
			for i, c := range all {
				switch i % 4 {
				case 0:
					read(c, "r", i)
				case 1:
					c.expectPrefix("-UNCERTAIN ")
				case 2:
					read(c, "r", i)
					c.expectPrefix("-UNCERTAIN ")
					read(c, "s", i)
				case 3:
					c.expectPrefix("-UNCERTAIN ")
					c.expect(bulk(fmt.Sprint("e", i)))
					c.expectPrefix("-UNCERTAIN ")
					read(c, "s", i)
				}
				c.want(bulk("still here"), "ECHO", "still here")
			}
			for _, got := range heard(b) {
				if strings.HasPrefix(got, "INCR") {
					t.Errorf("the new master received %q", got)
				}
			}
		})
	}
}

// unsent tells whether something that was accepted has not been written.
func (w *world) unsent() (some bool) {
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			for _, slot := range l.slots {
				some = some || slot.s != nil && slot.s.pend != nil && len(slot.s.pend.unsent()) > 0
			}
		})
	}
	return some
}

// TestManyAreFencedAndGoOn: what is under way is answered by the old master, what
// comes later waits; after an abort it goes to the same, after a switch to the
// new one. Nobody's is sent twice.
func TestManyAreFencedAndGoOn(t *testing.T) {
	for _, end := range []string{"aborted", "promoted"} {
		t.Run(end, func(t *testing.T) {
			w, a, b := twoNodes(t, longFence)
			slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
			first := w.dial()
			first.send(line("GET first"))
			w.await(a, "GET")
			before := w.together(10, func(i int) string { return lines(fmt.Sprintf("SET b%d %d", i, i), fmt.Sprintf("SET c%d %d", i, i)) })
			eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 21 && !w.unsent() })
			w.fence()
			for i, c := range before {
				c.send(lines(fmt.Sprintf("SET d%d %d", i, i)))
			}
			later := w.together(10, func(i int) string { return lines(fmt.Sprintf("SET e%d %d", i, i)) })
			eventually(t, "those who came later to wait", func() bool { return w.p.Stats().Masters[0].Waiting >= 10 })
			slow.open()
			first.expect(bulk("slow"))
			for _, c := range before {
				c.expect(ok, ok)
			}
			for _, got := range heard(a) {
				if strings.HasPrefix(got, "SET d") || strings.HasPrefix(got, "SET e") {
					t.Errorf("while fenced the old master received %q", got)
				}
			}
			to := a
			if end == "promoted" {
				to = b
				w.move(b.Addr())
			} else {
				w.abort()
			}
			for _, c := range append(before, later...) {
				c.expect(ok)
			}
			var sets []string
			for _, n := range []*redistest.ScriptedNode{a, b} {
				for _, got := range heard(n) {
					if strings.HasPrefix(got, "SET ") {
						sets = append(sets, got)
					}
				}
			}
			slices.Sort(sets)
			if len(sets) != 40 || len(slices.Compact(sets)) != 40 {
				t.Errorf("%d commands were received, not 40 different ones: %q", len(sets), sets)
			}
			for i := range 10 {
				if got := to.Data()[fmt.Sprint("e", i)]; got != fmt.Sprint(i) {
					t.Errorf("e%d is %q", i, got)
				}
			}
		})
	}
}

// TestFenceAfterFenceUnderLoad: fences that are aborted leave no command out and
// none twice, whatever was in flight.
func TestFenceAfterFenceUnderLoad(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	node := realRedis(t)
	w := newWorld(t, node.Addr, longFence)
	const clients = 20
	stop, ended := make(chan struct{}), make(chan string, clients)
	for i := range clients {
		c := w.dial()
		go w.count(c, fmt.Sprint("n", i), stop, ended)
	}
	for range rounds {
		w.fence()
		w.abort()
		progressAny(w, 200)
	}
	close(stop)
	for range clients {
		if wrong := <-ended; wrong != "" {
			t.Error(wrong)
		}
	}
	if st := w.counters(); st.Refused["uncertain"] > 0 {
		t.Errorf("%+v", st)
	}
}

// count has a counter count, with values of all sizes in between; it ends when it
// is told to, or with the first answer that does not fit.
func (w *world) count(c *client, key string, stop <-chan struct{}, ended chan<- string) {
	wrong := ""
	defer func() { ended <- wrong }()
	for n := 1; wrong == ""; n++ {
		select {
		case <-stop:
			return
		default:
		}
		value := strings.Repeat(key, 1+n%7*3000)
		say := lines("INCR "+key) + string(command("SET", key+"v", value)) + lines("GET "+key+"v", "ECHO "+key)
		if _, err := c.nc.Write([]byte(say)); err != nil {
			wrong = err.Error()
			return
		}
		for _, want := range []string{integer(n), ok, bulk(value), bulk(key)} {
			if got, err := c.next(); got != want {
				wrong = fmt.Sprintf("%s: answered %q, not %q (%v)", key, cropped(got), cropped(want), err)
				return
			}
		}
	}
}

// TestManyBehindARefusal: the first that the demoted master refuses is followed by
// those of strangers; each gets what it would have got alone.
func TestManyBehindARefusal(t *testing.T) {
	onlyShared(t)
	w, a, b := twoNodes(t)
	slow := w.shut(a, "ECHO", redistest.Raw("$4\r\nslow\r\n"))
	first, all := w.dial(), w.dialMany(30)
	first.send(line("ECHO first"))
	w.await(a, "ECHO")
	for i, c := range all {
		c.send([...]string{lines(fmt.Sprintf("SET k%d %d", i, i)), lines(fmt.Sprint("GET k", i-1)), lines(fmt.Sprint("INCR n", i)), lines("PING", fmt.Sprintf("SET k%d %d", i, i), "ECHO x")}[i%4])
	}
	eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 1+30+14 && !w.unsent() })
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	slow.open()
	first.expect(bulk("slow"))
	w.believe("doubt", func(v *sentinel.View) bool { return !v.Serving() })
	w.move(b.Addr())
	for i, c := range all {
		switch i % 4 {
		case 0:
			c.expect(ok)
		case 1:
			c.read() // its value, or none yet
		case 2: // the scripted node, which is a replica now, may have run it
			if got := c.read(); got != integer(1) && !strings.HasPrefix(got, "-UNCERTAIN ") {
				t.Errorf("INCR: %q", got)
			}
		case 3:
			c.expect(pong, ok)
			c.read()
		}
		c.want(pong, "PING")
	}
	for i := range all {
		if got := b.Data()[fmt.Sprint("k", i)]; (i%4 == 0 || i%4 == 3) && got != fmt.Sprint(i) {
			t.Errorf("k%d is %q on the new master", i, got)
		}
	}
}

// TestNonsenseOnASharedUpstream ends it, and nobody is given any of it.
func TestNonsenseOnASharedUpstream(t *testing.T) {
	for _, nonsense := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "$5\r\nabcdefgh\r\n", "*2\r\n$1\r\na\r\nxyz\r\n"} {
		t.Run(strings.TrimSpace(nonsense[:3]), func(t *testing.T) {
			w, a, _ := twoNodes(t)
			slow := w.shut(a, "GET", redistest.InTurn(redistest.Raw(nonsense), redistest.Raw("$2\r\nok\r\n")))
			first := w.dial()
			first.send(line("GET first"))
			w.await(a, "GET")
			all := w.together(12, func(i int) string { return lines([...]string{"ECHO e", "INCR n", "GET g"}[i%3]) })
			eventually(t, "all to be under way", func() bool { return w.counters().Accepted >= 13 && !w.unsent() })
			slow.open()
			for i, c := range append([]*client{first}, all...) {
				got := c.read()
				if fits := got == bulk("e") || got == integer(1) || got == bulk("ok") || strings.HasPrefix(got, "-UNCERTAIN "); !fits {
					t.Errorf("client %d: %q", i, got)
				}
			}
			w.dial().want(pong, "PING")
			if mode == config.Shared && w.counters().UpstreamsLost == 0 {
				t.Error("the upstream was not ended")
			}
		})
	}
}

// TestPushOnASharedUpstream: nobody there can have asked for it.
func TestPushOnASharedUpstream(t *testing.T) {
	onlyShared(t)
	for _, size := range []int{10, 200000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w, a, _ := twoNodes(t)
			pushed := push(bulk("invalidate"), array(bulk(strings.Repeat("p", size))))
			a.Handle("GET", redistest.InTurn(redistest.Raw(pushed+bulk("v")), redistest.Raw(bulk("v"))))
			c, d := w.dial(), w.dial()
			c.wantPrefix("%7\r\n", "HELLO", "3")
			d.wantPrefix("%7\r\n", "HELLO", "3")
			d.want(pong, "PING")
			c.send(lines("GET k"))
			c.expect(bulk("v")) // of another connection
			d.want(pong, "PING")
			if st := w.counters(); st.Unexpected == 0 {
				t.Errorf("%+v", st)
			}
			w.onLoop(w.p.loops[0], func(l *loop) { l.sites[0].count.stats[statUnexpected].Store(0) }) // as the test meant
		})
	}
}

// TestStrayRepliesBeforeOrBehind: a reply too many is never the next one's.
func TestStrayRepliesBeforeOrBehind(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	a.Handle("GET", redistest.InTurn(redistest.Raw(bulk("mine")+bulk("nobody's")), redistest.Raw(bulk("again"))))
	c := w.dial()
	d := w.dial()
	d.want(pong, "PING")
	c.want(bulk("mine"), "GET", "k")
	eventually(t, "the alarm", func() bool { return w.counters().Unexpected == 1 })
	d.want(bulk("d"), "ECHO", "d")
	c.want(bulk("c"), "ECHO", "c")
	w.onLoop(w.p.loops[0], func(l *loop) { l.sites[0].count.stats[statUnexpected].Store(0) }) // as the test meant
}
