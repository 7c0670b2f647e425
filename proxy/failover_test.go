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

// TestPreparationAtAHungMasterIsAbandoned: whoever was being attached to a master
// that answers nothing goes to the new one as soon as there is one, and not when
// the old one has timed out.
func TestPreparationAtAHungMasterIsAbandoned(t *testing.T) {
	w, a, b := twoNodes(t, func(cfg *config.Config) {
		cfg.Sentinel.Timeout = config.Duration(10 * patience)
		cfg.Failover.FenceTimeout = config.Duration(10 * patience)
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

// TestLoadingNodeIsNotHammered: a master that loads its data says so for minutes.
// Each client waits its own while before it tries again, and longer each time.
func TestLoadingNodeIsNotHammered(t *testing.T) {
	w, a, _ := twoNodes(t, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(400e6) })
	a.Handle("SET", redistest.Error("LOADING Redis is loading the dataset in memory"))
	c := w.dial()
	c.send(line("SET k 1"))
	reply := c.expectPrefix("-")
	if !strings.HasPrefix(reply, "-LOADING ") && !strings.HasPrefix(reply, "-MASTERDOWN ") {
		t.Errorf("given up with %q", reply)
	}
	if n := len(heard(a)); n < 2 || n > 12 {
		t.Errorf("the command was tried %d times in less than half a second", n)
	}
	a.Handle("SET", redistest.OK)
	c.want(ok, "SET", "k", "2")
}

// TestScriptThatSpeaksLikeAReplica: an error that only looks like a refusal is
// given to its client in the end, and the connection is kept.
func TestScriptThatSpeaksLikeAReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	c.cmd("EVAL", "return redis.error_reply('READONLY says the script')", "0")
	c.expect("-READONLY says the script\r\n")
	c.want(ok, "SET", "k", "v")
}

func TestNoReplicasIsAnOrdinaryAnswer(t *testing.T) {
	w := newWorld(t, realRedis(t, "--min-replicas-to-write", "1").Addr)
	c := w.dial()
	c.want("-NOREPLICAS Not enough good replicas to write.\r\n", "SET", "k", "v")
	c.want("$-1\r\n", "GET", "k")
}

// TestNoReplicasWhileFencedIsARefusal: some fence the old master like this.
func TestNoReplicasWhileFencedIsARefusal(t *testing.T) {
	w, a, b := twoNodes(t, func(cfg *config.Config) { cfg.Failover.FenceTimeout = config.Duration(patience) })
	say := make(chan struct{})
	a.Handle("SET", func(c *redistest.Conn, args []string) {
		select {
		case <-say:
		case <-c.Done():
		}
		c.WriteError("NOREPLICAS Not enough good replicas to write.")
	})
	c := w.dial()
	c.send(line("SET k 1"))
	w.await(a, "SET")
	w.fence()
	close(say)
	eventually(t, "the refusal", func() bool { return w.p.Stats().Upstreams == 0 })
	w.move(b.Addr())
	c.expect(ok)
}

// TestLargeCommandInterrupted: too large to be kept, so it cannot be sent again;
// only a part of it has left, so it was certainly not executed.
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

// TestLargeCommandUnansweredIsUncertain: all of it has left.
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

// TestLargeCommandIsHeldWhole: it came while there was no master.
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

// TestTheTailOfALargeCommandIsNeverSent: with others behind it in the same write
// a large command may leave its last bytes in the log. They are no command, even
// if they look like one.
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

// TestServerThatSpeaksNonsense: what is no RESP ends the upstream, and what was
// sent is settled by the rules.
func TestServerThatSpeaksNonsense(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("SET", redistest.Raw("HTTP/1.1 400 Bad Request\r\n\r\n"))
	c := w.dial()
	c.send(lines("SET k 1"))
	c.expectPrefix("-UNCERTAIN ")
	w.move(b.Addr())
	c.want(ok, "SET", "k", "2")
}

// TestReplyThatNobodyAskedFor cuts its client: from then on nobody knows which
// answer belongs to which command.
func TestReplyThatNobodyAskedFor(t *testing.T) {
	w, a, _ := twoNodes(t)
	a.Handle("SET", redistest.Raw(ok+ok))
	c := w.dial()
	c.send(lines("SET k 1"))
	c.expect(ok)
	c.expectEnd()
	if st := w.counters(); st.Unexpected != 1 {
		t.Errorf("%+v", st)
	}
	w.onLoop(w.p.loops[0], func(l *loop) { l.sites[0].count.stats[statUnexpected].Store(0) }) // as the test meant
}

// TestMasterThatKeepsDroppingConnections: a command is not sent again for ever.
func TestMasterThatKeepsDroppingConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	w, a, _ := twoNodes(t)
	a.Handle("GET", redistest.Cut)
	c := w.dial()
	c.send(lines("GET k", "PING"))
	c.expectPrefix("-UNCERTAIN ")
	c.expect(pong)
	if n := a.Count("GET"); n > 10 {
		t.Errorf("it was sent %d times", n)
	}
}

// TestNodeThatIsNoMasterGetsNothing: the Sentinel names it, but it says itself
// that it is a replica.
func TestNodeThatIsNoMasterGetsNothing(t *testing.T) {
	w, _, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	b.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	w.name(b.Addr())
	w.believe("naming it without serving", func(v *sentinel.View) bool { return v.Master == b.Addr() && !v.Serving() })
	c.send(line("SET k 2"))
	eventually(t, "a client that waits", func() bool { return w.p.Stats().Masters[0].Waiting == 1 })
	if got := heard(b); len(got) > 0 {
		t.Errorf("a replica received %q", got)
	}
	b.Change(func(st *redistest.NodeState) { st.Role = "master" })
	c.expect(ok)
}

// TestRoleIsProvedOnceTheClientHasLoggedIn: without a login of its own holdfast
// serves on Sentinel's word, and asks on each client's connection.
func TestRoleIsProvedOnceTheClientHasLoggedIn(t *testing.T) {
	for _, login := range []string{"AUTH secret", "HELLO 2 AUTH default secret"} {
		t.Run(login, func(t *testing.T) {
			a, b := redistest.NewScriptedNode(t), redistest.NewScriptedNode(t)
			for _, n := range []*redistest.ScriptedNode{a, b} {
				n.Require("", "secret")
			}
			w := newWorld(t, a.Addr())
			w.nodes = append(w.nodes, a, b)
			w.believe("serving without a proof", func(v *sentinel.View) bool { return v.Serving() && !v.Proven })
			a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
			c := w.dial()
			c.send(line(login) + line("SET k 1"))
			c.read() // the login's own reply
			eventually(t, "the denial", func() bool { return w.counters().RoleDenied > 0 })
			w.name(b.Addr())
			c.expect(ok)
			if got := heard(a); slices.Contains(got, "SET k 1") {
				t.Errorf("a replica received %q", got)
			}
			if got := b.Data()["k"]; got != "1" {
				t.Errorf("the master has k=%q", got)
			}
		})
	}
}

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
