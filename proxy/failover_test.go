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

// twoNodes are two scripted nodes; the world begins on the first.
func twoNodes(t *testing.T, changes ...func(*config.Config)) (w *world, a, b *redistest.ScriptedNode) {
	t.Helper()
	a, b = redistest.NewScriptedNode(t), redistest.NewScriptedNode(t)
	for _, n := range []*redistest.ScriptedNode{a, b} {
		n.Handle("MULTI", redistest.OK)
		n.Handle("INCR", redistest.Raw(":1\r\n"))
		n.Handle("WATCH", redistest.OK)
		n.Handle("UNWATCH", redistest.OK)
		n.Handle("DISCARD", redistest.OK)
	}
	w = newWorld(t, a.Addr(), changes...)
	w.nodes = append(w.nodes, a, b)
	w.serving(a.Addr())
	return w, a, b
}

// heard lists the commands of clients that a node has received, without those
// that holdfast itself sends.
func heard(n *redistest.ScriptedNode) (list []string) {
	own := []string{"HELLO", "INFO", "COMMAND", "ROLE", "CLIENT SETINFO", "CLIENT SETNAME HOLDFAST", "PING"}
	for _, cmd := range n.Commands() {
		line := strings.Join(cmd.Args, " ")
		if !slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(strings.ToUpper(line), o) }) {
			list = append(list, line)
		}
	}
	return list
}

func (w *world) await(n *redistest.ScriptedNode, name string) {
	w.t.Helper()
	if _, err := n.AwaitCommand(w.ctx, name); err != nil {
		w.t.Fatal(err)
	}
}

func TestIdleClientNoticesNothing(t *testing.T) {
	w, _, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	w.move(b.Addr())
	c.want(ok, "SET", "k", "2")
	if got := b.Data()["k"]; got != "2" {
		t.Errorf("the new master has k=%q", got)
	}
	if st := w.counters(); st.Closed["done"]+st.Closed["client"] > 0 || st.Accepted != 2 {
		t.Errorf("%+v", st)
	}
}

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

func TestNothingIsWrittenToTheOldMasterAfterTheViewMoved(t *testing.T) {
	w, a, b := twoNodes(t)
	var clients []*client
	for i := range 20 {
		c := w.dial()
		c.want(ok, "SET", "before", fmt.Sprint(i))
		clients = append(clients, c)
	}
	w.name(b.Addr())
	for i, c := range clients {
		c.cmd("SET", "during", fmt.Sprint(i))
	}
	w.serving(b.Addr())
	seen := len(heard(a))
	for i, c := range clients {
		c.cmd("SET", "after", fmt.Sprint(i))
		c.expect(ok, ok)
	}
	if got := heard(a); len(got) != seen {
		t.Errorf("after the View had moved the old master received %q", got[seen:])
	}
	for _, line := range heard(a) {
		if strings.HasPrefix(line, "SET after") {
			t.Errorf("the old master received %q", line)
		}
	}
}

func TestRefusedWriteIsSentAgain(t *testing.T) {
	for _, refusal := range []string{
		"READONLY You can't write against a read only replica.",
		"LOADING Redis is loading the dataset in memory",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"REDIRECT 127.0.0.1:1",
	} {
		t.Run(strings.Fields(refusal)[0], func(t *testing.T) {
			w, a, b := twoNodes(t)
			c := w.dial()
			c.want(ok, "SET", "k", "1")
			a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
			a.Handle("SET", redistest.Error(refusal))
			c.cmd("SET", "k", "2")
			c.cmd("SET", "k", "3")
			w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
			w.move(b.Addr())
			c.expect(ok, ok)
			if got := heard(b); !slices.Equal(got, []string{"SET k 2", "SET k 3"}) {
				t.Errorf("the new master received %q", got)
			}
			if st := w.counters(); st.Refused["uncertain"] != 0 {
				t.Errorf("%d commands that were certainly not executed are uncertain", st.Refused["uncertain"])
			}
		})
	}
}

func TestUnansweredWriteIsUncertain(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("SET", redistest.Hang)
	c := w.dial()
	c.cmd("SET", "k", "1")
	c.cmd("GET", "k")
	w.await(a, "SET")
	w.move(b.Addr())
	c.expectPrefix("-UNCERTAIN ")
	c.expect("$-1\r\n")
	if got := heard(b); !slices.Equal(got, []string{"GET k"}) {
		t.Errorf("the new master received %q", got)
	}
}

func TestUnansweredReadIsSentAgain(t *testing.T) {
	w, a, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "old")
	a.Handle("GET", redistest.Hang)
	c.cmd("GET", "k")
	w.await(a, "GET")
	w.move(b.Addr())
	c.expect("$-1\r\n")
	if st := w.counters(); st.Resent != 1 {
		t.Errorf("%d commands were sent again, not one", st.Resent)
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

func TestHalfDeliveredReplyCutsTheClient(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("GET", redistest.Half("$200000\r\n"+strings.Repeat("x", 150000)))
	c, other := w.dial(), w.dial()
	other.want(ok, "SET", "k", "1")
	c.cmd("GET", "k")
	w.await(a, "GET")
	eventually(t, "the half reply", func() bool {
		if err := c.fill(); err != nil {
			t.Fatal(err)
		}
		return len(c.in) > 140000
	})
	w.move(b.Addr())
	for c.fill() == nil {
	}
	if len(c.in) > 150100 {
		t.Errorf("%d bytes came", len(c.in))
	}
	other.want("$-1\r\n", "GET", "k")
	if st := w.counters(); st.Closed["half_reply"] != 1 || st.Cut != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSmallHalfReplyIsNotDelivered: what is small is held back until it is
// whole, so its loss costs nobody a connection.
func TestSmallHalfReplyIsNotDelivered(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("GET", redistest.Half("$2000\r\n"+strings.Repeat("x", 1500)))
	c := w.dial()
	c.cmd("GET", "k")
	w.await(a, "GET")
	w.move(b.Addr())
	c.expect("$-1\r\n")
}

func TestRepliesAreInOrderWhateverTheyAre(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("SET", redistest.Hang)
	c := w.dial()
	c.want(pong, "PING")
	c.cmd("GET", "1")
	c.expect("$-1\r\n")
	c.send(line("SET 2 x") + // unknown
		line("GET 3") + // sent again
		line("SET 4 x") + // unknown
		line("ECHO five") + // sent again
		line("SYNC")) // refused by holdfast
	w.await(a, "SET")
	w.move(b.Addr())
	c.expectPrefix("-UNCERTAIN ")
	c.expect("$-1\r\n")
	c.expectPrefix("-UNCERTAIN ")
	c.expect(bulk("five"))
	c.expectPrefix("-ERR replication")
	c.want(pong, "PING")
	if got := heard(b); !slices.Equal(got, []string{"GET 3", "ECHO five"}) {
		t.Errorf("the new master received %q", got)
	}
}
