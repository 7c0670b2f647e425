package proxy

import (
	"slices"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

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

func TestAnsweredByAReplicaAfterItsRefusal(t *testing.T) {
	w, a, b := twoNodes(t)
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	c.send(lines("SET k 2", "INCR n", "GET k", "ECHO x", "SET k 3"))
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(ok)
	c.expectPrefix("-UNCERTAIN ")
	c.expect(bulk("2"), bulk("x"), ok)
	if got := heard(b); !slices.Equal(got, []string{"SET k 2", "GET k", "ECHO x", "SET k 3"}) {
		t.Errorf("the new master received %q", got)
	}
}

func TestLoadingNodeIsNotHammered(t *testing.T) {
	w, a, _ := twoNodes(t, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(400e6) })
	a.Handle("SET", redistest.Error("LOADING Redis is loading the dataset in memory"))
	c := w.dial()
	c.send(line("SET k 1"))
	reply := c.expectPrefix("-")
	if !strings.HasPrefix(reply, "-LOADING ") && !strings.HasPrefix(reply, "-MASTERDOWN ") {
		t.Errorf("given up with %q", reply)
	}
	if n := len(heard(a)); n > 12 {
		t.Errorf("the command was tried %d times in less than half a second", n)
	}
	a.Handle("SET", redistest.OK)
	c.want(ok, "SET", "k", "2")
}

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

func TestServerThatSpeaksNonsense(t *testing.T) {
	w, a, b := twoNodes(t)
	a.Handle("SET", redistest.Raw("HTTP/1.1 400 Bad Request\r\n\r\n"))
	c := w.dial()
	c.send(lines("SET k 1"))
	c.expectPrefix("-UNCERTAIN ")
	w.move(b.Addr())
	c.want(ok, "SET", "k", "2")
}

func TestReplyThatNobodyAskedFor(t *testing.T) {
	w, a, _ := twoNodes(t)
	a.Handle("SET", redistest.Raw(ok+ok))
	c := w.dial()
	c.send(lines("SET k 1"))
	c.expect(ok)
	if mode == config.Shared {
		// Nobody knows whose it is; what is certain is that it is not this one's.
		c.want("$-1\r\n", "GET", "k2")
	} else {
		c.expectEnd()
	}
	if st := w.counters(); st.Unexpected != 1 {
		t.Errorf("%+v", st)
	}
	w.onLoop(w.p.loops[0], func(l *loop) { l.sites[0].count.stats[statUnexpected].Store(0) }) // as the test meant
}

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
