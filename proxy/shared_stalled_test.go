package proxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// onlyShared skips a test of what only a shared upstream has.
func onlyShared(t *testing.T) {
	t.Helper()
	if mode != config.Shared {
		t.Skip("a test of the shared mode")
	}
}

// longFence keeps a fence from ending while a test looks at it.
func longFence(cfg *config.Config) { cfg.Failover.FenceTimeout = config.Duration(10 * patience) }

// gate keeps a scripted node from answering, and from reading on, until it is
// opened.
type gate struct {
	node *redistest.ScriptedNode
	name string
	once sync.Once
	way  chan struct{}
}

// shut puts a gate before a command; behind it the command is answered by then.
func (w *world) shut(n *redistest.ScriptedNode, name string, then redistest.Handler) *gate {
	g := &gate{node: n, name: name, way: make(chan struct{})}
	n.Handle(name, func(c *redistest.Conn, args []string) {
		select {
		case <-g.way:
			then(c, args)
		case <-c.Done():
		}
	})
	w.t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.way) }) }

// upstreamsOf looks at the shared upstreams of all keys of the first loop.
func (w *world) upstreamsOf(look func(u *upstream)) {
	w.t.Helper()
	w.onLoop(w.p.loops[0], func(l *loop) {
		for _, t := range l.sites[0].trunks {
			for _, u := range t.ups {
				look(u)
			}
		}
	})
}

// someFull tells whether the socket of a shared upstream takes no more.
func (w *world) someFull() (full bool) {
	w.upstreamsOf(func(u *upstream) { full = full || u.full })
	return full
}

// stall has n clients wait for one answer each, on a shared upstream each, so that
// whoever comes behind them waits behind a stranger.
func (w *world) stall(node *redistest.ScriptedNode, name string, n int) (waiting []*client) {
	w.t.Helper()
	for i := range n {
		c := w.dial()
		c.cmd(name, "slow")
		eventually(w.t, "the command to arrive", func() bool { return node.Count(name) == i+1 })
		w.allStalled()
		waiting = append(waiting, c)
	}
	return waiting
}

func (w *world) allStalled() {
	w.t.Helper()
	eventually(w.t, "all shared upstreams to stall", func() bool {
		all := true
		w.upstreamsOf(func(u *upstream) { all = all && u.share.stalled(time.Now()) })
		return all
	})
}

// crowd are clients that send one SET each until the socket of the upstream that
// they share is full; the last ones' commands are written in part, or not at all.
func (w *world) crowd() (all []*client, value string) {
	w.t.Helper()
	value = strings.Repeat("v", 60000)
	for full := false; !full; full = w.someFull() {
		if len(all) > 2000 {
			w.t.Fatal("the socket does not fill")
		}
		for range 20 {
			c := w.dial()
			c.cmd("SET", fmt.Sprint("k", len(all)), fmt.Sprint(len(all), value))
			all = append(all, c)
		}
	}
	for range 5 {
		c := w.dial()
		c.cmd("SET", fmt.Sprint("k", len(all)), fmt.Sprint(len(all), value))
		all = append(all, c)
	}
	eventually(w.t, "all commands to be accepted", func() bool { return w.counters().Accepted >= uint64(len(all)) })
	return all, value
}

// eachOnce insists that every client of a crowd is answered, and that the node
// has received each command once and as it was sent.
func (w *world) eachOnce(n *redistest.ScriptedNode, all []*client, value string) {
	w.t.Helper()
	for i, c := range all {
		if got := c.read(); got != ok {
			w.t.Fatalf("client %d of %d: %q", i, len(all), cropped(got))
		}
	}
	data := n.Data()
	for i := range all {
		if got := data[fmt.Sprint("k", i)]; got != fmt.Sprint(i, value) {
			w.t.Errorf("k%d is %q and %d bytes long", i, cropped(got), len(got))
		}
	}
	if got := n.Count("SET"); got != len(all) {
		w.t.Errorf("the node received %d commands, not %d", got, len(all))
	}
}

// TestAFullUpstreamThatServesAgain: commands that were written in part, or wait
// to be written, when the View ends, and the same process serves again.
func TestAFullUpstreamThatServesAgain(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t, longFence)
	w.nodes = append(w.nodes, a)
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	waiting := w.stall(a, "GET", mostShared)
	all, value := w.crowd()
	w.fence()
	w.abort()
	eventually(t, "everybody to be attached again", func() bool { return w.p.Stats().Masters[0].Waiting == 0 })
	slow.open()
	for _, c := range waiting {
		c.expect(bulk("slow"))
	}
	w.eachOnce(a, all, value)
}

// halves is how many clients have a command of which a part has been written.
func (w *world) halves() (n int) {
	w.t.Helper()
	w.onLoop(w.p.loops[0], func(l *loop) {
		for _, slot := range l.slots {
			if s := slot.s; s != nil && s.pend != nil && len(s.pend.begunRest()) > 0 {
				n++
			}
		}
	})
	return n
}

// TestHalfACommandWaitsNoLongerThanOthers: of a command a part is written when the
// View ends, and no other comes. It is not executed, whatever comes then: answers
// from the old master to what was written whole, or the old one again, or another.
func TestHalfACommandWaitsNoLongerThanOthers(t *testing.T) {
	onlyShared(t)
	for _, end := range []string{"answered", "aborted", "promoted"} {
		t.Run(end, func(t *testing.T) {
			w, a, b := twoNodes(t, longFence, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(time.Second) })
			slow := w.shut(a, "GET", redistest.Raw(bulk("slow")))
			b.Handle("GET", redistest.Raw(bulk("slow")))
			waiting := w.stall(a, "GET", mostShared)
			all, _ := w.crowd()
			w.fence()
			n := w.halves()
			if n == 0 && secured {
				t.Skip("the socket was full between two commands, as it may be after a record")
			}
			if n != 1 {
				t.Fatalf("%d commands are written in part", n)
			}
			eventually(t, "all that are not written whole to be answered", func() bool {
				return w.halves() == 0 && w.p.Stats().Masters[0].Waiting == 0
			})
			switch end {
			case "aborted":
				w.abort()
			case "promoted":
				w.move(b.Addr())
			}
			slow.open()
			for _, c := range waiting {
				c.expect(bulk("slow"))
			}
			refused := map[string]bool{}
			for i, c := range all {
				switch got := c.read(); {
				case strings.HasPrefix(got, "-MASTERDOWN "):
					refused[fmt.Sprint("k", i)] = true
				case got == ok, end != "answered" && strings.HasPrefix(got, "-UNCERTAIN "):
				default:
					t.Errorf("client %d: %q", i, cropped(got))
				}
			}
			if end == "answered" {
				eventually(t, "its connection to end", func() bool { return w.p.Stats().Upstreams == 0 })
				w.abort()
			}
			for _, c := range all {
				c.want(pong, "PING")
			}
			for key := range a.Data() {
				if refused[key] {
					t.Errorf("%s is set, and its client was told that it is not", key)
				}
			}
		})
	}
}

// TestAFullUpstreamIsWrittenOnceItIsRead is the same without a change of View.
func TestAFullUpstreamIsWrittenOnceItIsRead(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	waiting := w.stall(a, "GET", mostShared)
	all, value := w.crowd()
	slow.open()
	for _, c := range waiting {
		c.expect(bulk("slow"))
	}
	w.eachOnce(a, all, value)
}

// TestClientsThatVanishFromAFullUpstream: what was written in part is completed,
// what was not written is not.
func TestClientsThatVanishFromAFullUpstream(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	waiting := w.stall(a, "GET", mostShared)
	all, value := w.crowd()
	var kept []*client
	for i, c := range all {
		if i%3 == 0 || i > len(all)-30 && i%2 == 0 {
			c.reset()
		} else {
			kept = append(kept, c)
		}
	}
	eventually(t, "them to be gone", func() bool { return w.p.Stats().Clients == len(kept)+len(waiting) })
	slow.open()
	for _, c := range waiting {
		c.expect(bulk("slow"))
	}
	for i, c := range kept {
		if got := c.read(); got != ok {
			t.Fatalf("client %d of %d: %q", i, len(kept), cropped(got))
		}
	}
	for key, got := range a.Data() {
		if got != strings.TrimPrefix(key, "k")+value {
			t.Errorf("%s is %q and %d bytes long", key, cropped(got), len(got))
		}
	}
	if st := w.counters(); st.Unexpected != 0 {
		t.Errorf("%+v", st)
	}
}

// TestAClientThatWaitedForItsAnswersGoesOnAtAFullUpstream: it had to be answered
// before its next command, and when it is the socket takes no more.
func TestAClientThatWaitedForItsAnswersGoesOnAtAFullUpstream(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	answer, more := w.shut(a, "ECHO", redistest.Raw(bulk("mine"))), w.shut(a, "SET", redistest.OK)
	c := w.dial()
	c.send(lines("ECHO mine", "CLIENT GETNAME", "PING"))
	w.await(a, "ECHO")
	slow := w.shut(a, "GET", redistest.Raw("$4\r\nslow\r\n"))
	w.allStalled()
	waiting := w.stall(a, "GET", mostShared-1)
	all, _ := w.crowd()
	answer.open()
	c.expect(bulk("mine"))
	w.await(a, "SET") // and reads no further, so that the socket remains full
	more.open()
	slow.open()
	c.expect("$-1\r\n", pong)
	for _, d := range append(all, waiting...) {
		d.read()
	}
}
