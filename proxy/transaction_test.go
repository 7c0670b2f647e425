package proxy

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// transactional lets a scripted node queue what comes after MULTI, as Redis does.
func transactional(n *redistest.ScriptedNode) {
	say := redistest.Raw
	var mu sync.Mutex
	open := map[int]int{} // by connection: 1 and one more for each command queued
	locked := func(h redistest.Handler) redistest.Handler {
		return func(c *redistest.Conn, args []string) {
			mu.Lock()
			defer mu.Unlock()
			h(c, args)
		}
	}
	n.Handle("MULTI", locked(func(c *redistest.Conn, args []string) {
		open[c.Number()] = 1
		say(ok)(c, args)
	}))
	queue := func(otherwise redistest.Handler) redistest.Handler {
		return locked(func(c *redistest.Conn, args []string) {
			if open[c.Number()] == 0 {
				otherwise(c, args)
				return
			}
			open[c.Number()]++
			say(queued)(c, args)
		})
	}
	n.Handle("SET", queue(say(ok)))
	n.Handle("GET", queue(say("$-1\r\n")))
	n.Handle("INCR", queue(say(":1\r\n")))
	n.Handle("WAIT", queue(say(":1\r\n")))
	n.Handle("HOLDFAST.QUEUE.NOT.KEPT", locked(func(c *redistest.Conn, args []string) {
		open[c.Number()] = -1 << 20
		say("-ERR unknown command\r\n")(c, args)
	}))
	n.Handle("EXEC", locked(func(c *redistest.Conn, args []string) {
		queued := open[c.Number()]
		delete(open, c.Number())
		switch {
		case queued == 0:
			say("-ERR EXEC without MULTI\r\n")(c, args)
		case queued < 0:
			say("-EXECABORT Transaction discarded because of previous errors.\r\n")(c, args)
		default:
			say(array(slices.Repeat([]string{ok}, queued-1)...))(c, args)
		}
	}))
	n.Handle("DISCARD", locked(func(c *redistest.Conn, args []string) {
		if open[c.Number()] == 0 {
			say("-ERR DISCARD without MULTI\r\n")(c, args)
			return
		}
		delete(open, c.Number())
		say(ok)(c, args)
	}))
}

func twoTransactionalNodes(t *testing.T, changes ...func(*config.Config)) (w *world, a, b *redistest.ScriptedNode) {
	w, a, b = twoNodes(t, changes...)
	transactional(a)
	transactional(b)
	return w, a, b
}

func TestOpenTransactionIsCarried(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.send(lines("MULTI", "SET k 1"))
	c.expect(ok, queued)
	w.move(b.Addr())
	c.send(lines("SET k 2", "EXEC"))
	c.expect(queued, array(ok, ok))
	if got := heard(b); !slices.Equal(got, []string{"MULTI", "SET k 1", "SET k 2", "EXEC"}) {
		t.Errorf("the new master received %q", got)
	}
	if got := heard(a); !slices.Equal(got, []string{"MULTI", "SET k 1"}) {
		t.Errorf("the old master received %q", got)
	}
	c.want(ok, "SET", "k", "3") // outside of any transaction
}

// TestMultiInFlightIsCarried: as long as EXEC has not left nothing has run, so
// all of it is sent again, in its transaction.
func TestMultiInFlightIsCarried(t *testing.T) {
	for _, hangs := range []string{"MULTI", "SET"} {
		t.Run(hangs, func(t *testing.T) {
			w, a, b := twoTransactionalNodes(t)
			a.Handle(hangs, redistest.Hang)
			c := w.dial()
			c.send(lines("MULTI", "SET k 1"))
			w.await(a, hangs)
			w.fence()
			c.send(lines("SET k 2", "EXEC", "GET k"))
			w.move(b.Addr())
			c.expect(ok, queued, queued, array(ok, ok), "$-1\r\n")
			if got := heard(b); !slices.Equal(got, []string{"MULTI", "SET k 1", "SET k 2", "EXEC", "GET k"}) {
				t.Errorf("the new master received %q", got)
			}
		})
	}
}

func TestExecInFlightIsUncertain(t *testing.T) {
	for name, first := range map[string]string{
		"alone":       lines("MULTI", "SET k 1"),
		"in one with": "",
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := twoTransactionalNodes(t)
			a.Handle("EXEC", redistest.Hang)
			c := w.dial()
			if first != "" {
				c.send(first)
				c.expect(ok, queued)
				c.send(lines("EXEC", "SET k 2"))
			} else {
				c.send(lines("MULTI", "SET k 1", "EXEC", "SET k 2"))
				c.expect(ok, queued)
			}
			w.await(a, "EXEC")
			w.move(b.Addr())
			c.expectPrefix("-UNCERTAIN ") // EXEC
			c.expectPrefix("-UNCERTAIN ") // SET k 2
			c.want(ok, "SET", "k", "3")   // not queued: the transaction is over
			if got := heard(b); !slices.Equal(got, []string{"SET k 3"}) {
				t.Errorf("the new master received %q", got)
			}
		})
	}
}

func TestWholeTransactionInFlightIsUncertain(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	a.Handle("MULTI", redistest.Hang)
	c := w.dial()
	c.send(lines("MULTI", "SET k 1", "EXEC"))
	w.await(a, "MULTI")
	w.move(b.Addr())
	for range 3 {
		c.expectPrefix("-UNCERTAIN ")
	}
	c.want(ok, "SET", "k", "3")
	if got := heard(b); !slices.Equal(got, []string{"SET k 3"}) {
		t.Errorf("the new master received %q", got)
	}
}

func TestWatchLostWithItsConnectionMakesExecNull(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			w, _, b := twoTransactionalNodes(t)
			null := map[string]string{"2": "*-1\r\n", "3": "_\r\n"}[proto]
			c := w.dial()
			c.ask("HELLO", proto)
			c.want(ok, "WATCH", "k")
			w.move(b.Addr())
			c.send(lines("MULTI", "SET k 1", "EXEC"))
			c.expect(ok, queued, null)
			c.send(lines("MULTI", "SET k 2", "EXEC"))
			c.expect(ok, queued, array(ok))
			for _, line := range heard(b) {
				if strings.HasPrefix(line, "WATCH") {
					t.Error("a WATCH was replayed: what has changed meanwhile would go unnoticed")
				}
			}
		})
	}
}

func TestUnwatchForgetsALostWatch(t *testing.T) {
	for _, end := range []string{"UNWATCH", "MULTI DISCARD"} {
		t.Run(end, func(t *testing.T) {
			w, _, b := twoTransactionalNodes(t)
			c := w.dial()
			c.want(ok, "WATCH", "k")
			w.move(b.Addr())
			for _, name := range strings.Fields(end) {
				c.want(ok, name)
			}
			c.send(lines("MULTI", "SET k 1", "EXEC"))
			c.expect(ok, queued, array(ok))
		})
	}
}

// TestWatchedExecThatWasRefusedAnswersNull: EXEC was on its way already when the
// connection, and with it the WATCH, was lost.
func TestWatchedExecThatWasRefusedAnswersNull(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.want(ok, "WATCH", "k")
	c.want(ok, "MULTI")
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	a.Handle("SET", redistest.Error("READONLY You can't write against a read only replica."))
	a.Handle("EXEC", redistest.Error("EXECABORT Transaction discarded because of previous errors."))
	c.send(lines("SET k 1", "EXEC", "INCR n"))
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(queued, "*-1\r\n", integer(1))
	for _, line := range heard(b) {
		if line == "EXEC" {
			t.Error("EXEC ran on the new master although its WATCH was lost")
		}
	}
}

// TestRefusedTransactionIsSentAgainWhole: a queued command that a replica
// refuses poisons the transaction there; on the new master all of it runs.
func TestRefusedTransactionIsSentAgainWhole(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	a.Handle("SET", redistest.Error("READONLY You can't write against a read only replica."))
	a.Handle("EXEC", redistest.Error("EXECABORT Transaction discarded because of previous errors."))
	c := w.dial()
	c.send(lines("MULTI", "GET k", "SET k 1", "INCR n", "EXEC", "GET k"))
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(ok, queued, queued, queued, array(ok, ok, ok), "$-1\r\n")
	if got := heard(b); !slices.Equal(got, []string{"MULTI", "GET k", "SET k 1", "INCR n", "EXEC", "GET k"}) {
		t.Errorf("the new master received %q", got)
	}
}

// TestTransactionBehindARefusal: it was begun on the replica already, and begins
// again on the new master, whole.
func TestTransactionBehindARefusal(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.want(pong, "PING")
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	a.Handle("SET", redistest.Error("READONLY You can't write against a read only replica."))
	a.Handle("EXEC", redistest.Error("EXECABORT Transaction discarded because of previous errors."))
	c.send(lines("SET k 0", "MULTI", "GET k", "SET k 1", "EXEC", "SELECT 0", "MULTI", "GET k"))
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(ok, ok, queued, queued, array(ok, ok), ok, ok, queued)
	c.want(array(ok), "EXEC")
	if got := heard(b); !slices.Equal(got, []string{"SET k 0", "MULTI", "GET k", "SET k 1", "EXEC", "SELECT 0", "MULTI", "GET k", "EXEC"}) {
		t.Errorf("the new master received %q", got)
	}
}

// TestExecRefusedByAReplicaIsSentAgain: the whole transaction had been queued
// when the node lost its role; EXEC itself names the reason then.
func TestExecRefusedByAReplicaIsSentAgain(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.send(lines("MULTI", "SET k 1"))
	c.expect(ok, queued)
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	a.Handle("EXEC", redistest.Error("EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica."))
	c.cmd("EXEC")
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(array(ok))
}

// TestExpiredCommandPoisonsItsTransaction: a command of the transaction was
// answered with an error, so the rest must not run without it.
func TestExpiredCommandPoisonsItsTransaction(t *testing.T) {
	w, _, b := twoTransactionalNodes(t, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(50e6) })
	c := w.dial()
	c.send(lines("MULTI", "SET k 1"))
	c.expect(ok, queued)
	w.fence()
	c.cmd("SET", "k", "2")
	c.expectPrefix("-MASTERDOWN ")
	w.move(b.Addr())
	c.cmd("EXEC")
	c.expectPrefix("-EXECABORT ")
	c.want(ok, "SET", "k", "3")
}

// TestRefusedCommandPoisonsItsTransaction: the node knows nothing of the command
// that holdfast has refused.
func TestRefusedCommandPoisonsItsTransaction(t *testing.T) {
	w, _, _ := twoTransactionalNodes(t)
	c := w.dial()
	c.send(lines("MULTI", "SET k 1", "SYNC", "SET k 2", "EXEC", "GET k"))
	c.expect(ok, queued)
	c.expectPrefix("-ERR replication commands")
	c.expect(queued)
	c.expectPrefix("-EXECABORT ")
	c.expect("$-1\r\n")
}

func TestInterruptedCommandPoisonsItsTransaction(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.send(lines("MULTI", "SET k 1"))
	c.expect(ok, queued)
	c.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000\r\n" + strings.Repeat("x", 100000))
	eventually(t, "the command to be on its way", func() bool {
		streamed := false
		w.onLoop(w.p.loops[0], func(l *loop) {
			for _, slot := range l.slots {
				streamed = streamed || slot.s != nil && slot.s.streamed
			}
		})
		return streamed
	})
	w.move(b.Addr())
	c.send(strings.Repeat("x", 100000) + "\r\n")
	c.expectPrefix("-MASTERDOWN ")
	c.cmd("EXEC")
	c.expectPrefix("-EXECABORT ")
	if got := heard(a); slices.Contains(got, "EXEC") {
		t.Errorf("the old master received %q", got)
	}
}

// TestQueueTooLargeToKeepAbortsAfterAFailover: what is not kept cannot be
// replayed, and a part of a transaction is never run.
func TestQueueTooLargeToKeepAbortsAfterAFailover(t *testing.T) {
	w, _, b := twoTransactionalNodes(t, func(cfg *config.Config) { cfg.Limits.ReplayBytes = 1 << 10 })
	c := w.dial()
	c.want(ok, "MULTI")
	for range 30 {
		c.want(queued, "SET", "k", strings.Repeat("x", 100))
	}
	w.move(b.Addr())
	c.cmd("EXEC")
	c.expectPrefix("-EXECABORT ")
	c.want(ok, "SET", "k", "3")
}

// TestSelectInATransactionTooLargeToKeep: it ran, so it must be known, or the
// client cannot be carried.
func TestSelectInATransactionTooLargeToKeep(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr, func(cfg *config.Config) { cfg.Limits.ReplayBytes = 1 << 10 })
	c := w.dial()
	c.want(ok, "MULTI")
	c.want(queued, "SELECT", "3")
	for range 30 {
		c.want(queued, "SET", "k", strings.Repeat("x", 100))
	}
	c.cmd("EXEC")
	c.expectPrefix("*31\r\n")
	w.move(two.Addr)
	c.send(line("CLIENT INFO"))
	if reply, err := c.next(); err == nil && !strings.Contains(reply, " db=3 ") {
		t.Errorf("%q", reply)
	}
}

// TestTransactionStates is the rule itself, without a network.
func TestTransactionStates(t *testing.T) {
	const o, q, x = txOutside, txQueued, txExecuting
	for _, tc := range []struct {
		kinds string // a letter a command; upper case: has left
		open  bool
		want  []txState
	}{
		{"PpM", false, []txState{o, o, q}},
		{"MPp", false, []txState{q, q, q}},
		{"MPE", false, []txState{x, x, x}},
		{"MPe", false, []txState{q, q, q}},
		{"PMPEP", false, []txState{o, x, x, x, o}},
		{"PE", true, []txState{x, x}},
		{"PE", false, []txState{o, o}},
		{"Pe", true, []txState{q, q}},
		{"MPDP", false, []txState{q, q, q, o}},
		{"PDMPEMPe", true, []txState{q, q, x, x, x, q, q, q}},
		{"MMPE", false, []txState{x, x, x, x}},
		{"RP", true, []txState{q, o}},
		{"MPEMPE", false, []txState{x, x, x, x, x, x}},
	} {
		p := &pending{}
		letters := map[rune]kind{'p': kindPlain, 'm': kindMulti, 'e': kindExec, 'd': kindDiscard, 'r': kindReset}
		for _, c := range tc.kinds {
			p.push(entry{kind: letters[c|0x20]}, []byte("x"))
			if c < 'a' {
				p.written(1)
			}
		}
		if got := p.transactions(tc.open); !slices.Equal(got, tc.want) {
			t.Errorf("%s, open %v: %v, not %v", tc.kinds, tc.open, got, tc.want)
		}
	}
}

// TestWatchEndsWithAnUncertainExec: whatever became of it, EXEC ends the WATCH,
// and the next transaction has nothing to do with it.
func TestWatchEndsWithAnUncertainExec(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.want(ok, "WATCH", "k")
	a.Handle("MULTI", redistest.Hang)
	c.send(lines("MULTI", "SET k 1", "EXEC"))
	w.await(a, "MULTI")
	w.move(b.Addr())
	for range 3 {
		c.expectPrefix("-UNCERTAIN ")
	}
	c.send(lines("MULTI", "SET k 2", "EXEC"))
	c.expect(ok, queued, array(ok))
}

// TestExecWithoutMultiKeepsTheLostWatch: it is an error that changes nothing.
func TestExecWithoutMultiKeepsTheLostWatch(t *testing.T) {
	w, _, b := twoTransactionalNodes(t)
	c := w.dial()
	c.want(ok, "WATCH", "k")
	w.move(b.Addr())
	c.want("-ERR EXEC without MULTI\r\n", "EXEC")
	c.send(lines("MULTI", "SET k 1", "EXEC"))
	c.expect(ok, queued, "*-1\r\n")
}

// TestErrorInARefusedTransactionAbortsIt: beside the refusal there was a mistake
// of the client's own, and nothing of such a transaction runs anywhere.
func TestErrorInARefusedTransactionAbortsIt(t *testing.T) {
	w, a, b := twoTransactionalNodes(t)
	c := w.dial()
	c.want(ok, "MULTI")
	a.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	a.Handle("SET", redistest.Error("READONLY You can't write against a read only replica."))
	a.Handle("EXEC", redistest.Error("EXECABORT Transaction discarded because of previous errors."))
	c.send(lines("SET k 1", "HOLDFAST.QUEUE.NOT.KEPT", "EXEC", "GET k")) // the second is unknown to both
	w.believe("doubt", func(v *sentinel.View) bool { return v.State == sentinel.Doubt })
	w.move(b.Addr())
	c.expect(queued)
	c.expectPrefix("-")
	c.expectPrefix("-EXECABORT ")
	c.expect("$-1\r\n")
}
