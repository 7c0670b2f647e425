package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
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
	for i, c := range clients {
		c.cmd("SET", "after", fmt.Sprint(i))
		if got := c.read(); got != ok && !strings.HasPrefix(got, "-UNCERTAIN ") {
			t.Errorf("SET during: %q", got)
		}
		c.expect(ok)
	}
	seen := heard(a)
	for i, c := range clients {
		c.want(ok, "SET", "later", fmt.Sprint(i))
	}
	if got := heard(a); len(got) != len(seen) {
		t.Errorf("after the View had moved the old master received %q", got[len(seen):])
	}
	for _, line := range seen {
		if strings.HasPrefix(line, "SET after") {
			t.Errorf("the old master received %q", line)
		}
	}
	if got := a.Conns(); got > 2 { // the tracker's
		t.Errorf("the old master still has %d connections", got)
	}
}

// TestAnsweredByAReplicaAfterItsRefusal: behind a refusal stands an answer that

// says the command was executed, on a node whose data will be thrown away. Its

// client is told so, and the command is not executed again.

// TestNothingIsWrittenBetweenAViewAndItsLetter: a loop learns of a View by mail,
// and may read a client before that. It must not write what it reads.
func TestNothingIsWrittenBetweenAViewAndItsLetter(t *testing.T) {
	for _, mode := range []config.Mode{config.Shared, config.Dedicated, config.Tunnel} {
		t.Run(string(mode), func(t *testing.T) {
			w, a, b := twoNodes(t, func(cfg *config.Config) {
				if cfg.Listeners[0].Mode = mode; mode == config.Tunnel {
					tunnelled(cfg)
				}
			})
			others := a.Conns()
			c := w.dial()
			c.want(ok, "SET", "k", "1")
			entered, moved, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			w.p.loops[0].post(func(l *loop) {
				close(entered)
				<-moved
				for _, slot := range l.slots {
					if slot.s != nil {
						l.clientEvent(slot.s, evRead&^evGone)
					}
				}
				close(done)
			})
			<-entered
			c.send(line("SET k 2"))
			w.move(b.Addr())
			close(moved)
			<-done
			if mode == config.Tunnel {
				c.expectEnd()
			} else {
				c.expect(ok)
			}
			eventually(t, "the old master to have read it all", func() bool { return a.Conns() <= others })
			if got := heard(a); !slices.Equal(got, []string{"SET k 1"}) {
				t.Errorf("the old master received %q", got)
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

// TestPreparationAtAHungMasterIsAbandoned: whoever was being attached to a master

// that answers nothing goes to the new one as soon as there is one, and not when

// the old one has timed out.

// TestLoadingNodeIsNotHammered: a master that loads its data says so for minutes.

// Each client waits its own while before it tries again, and longer each time.

// TestScriptThatSpeaksLikeAReplica: an error that only looks like a refusal is

// given to its client in the end, and the connection is kept.

// TestNoReplicasWhileFencedIsARefusal: some fence the old master like this.

// TestLargeCommandInterrupted: too large to be kept, so it cannot be sent again;

// only a part of it has left, so it was certainly not executed.

// TestLargeCommandUnansweredIsUncertain: all of it has left.

// TestLargeCommandIsHeldWhole: it came while there was no master.

// TestTheTailOfALargeCommandIsNeverSent: with others behind it in the same write

// a large command may leave its last bytes in the log. They are no command, even

// if they look like one.

// TestServerThatSpeaksNonsense: what is no RESP ends the upstream, and what was

// sent is settled by the rules.

// TestReplyThatNobodyAskedFor cuts its client: from then on nobody knows which

// answer belongs to which command.

// TestMasterThatKeepsDroppingConnections: a command is not sent again for ever.

// TestNodeThatIsNoMasterGetsNothing: the Sentinel names it, but it says itself

// that it is a replica.

// TestRoleIsProvedOnceTheClientHasLoggedIn: without a login of its own holdfast

// serves on Sentinel's word, and asks on each client's connection.

// TestFailoverAfterFailover: the next one begins before the one before is over.

func TestFailoverAfterFailover(t *testing.T) {
	w, a, b := twoNodes(t)
	c := w.dial()
	for i := range 20 {
		to := b
		if i%2 == 1 {
			to = a
		}
		c.send(lines(fmt.Sprintf("SET k %d", i), "GET k"))
		w.name(to.Addr())
		c.send(lines(fmt.Sprintf("SET l %d", i)))
		w.serving(to.Addr())
		c.send(line("PING"))
		if got := c.read(); got != ok && !strings.HasPrefix(got, "-UNCERTAIN ") {
			t.Fatalf("SET k: %q", got)
		}
		c.expectPrefix("$")
		if got := c.read(); got != ok && !strings.HasPrefix(got, "-UNCERTAIN ") {
			t.Fatalf("SET l: %q", got)
		}
		c.expect(pong)
	}
}
