package proxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// blocked waits until a server holds so many blocked clients.
func (w *world) blocked(n *redistest.Node, clients int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%d blocked clients", clients), func() bool {
		info, err := n.Info(w.ctx, "clients")
		return err == nil && info["blocked_clients"] == fmt.Sprint(clients)
	})
}

// TestNothingIsPoppedForADeadClient: a client that goes away takes its blocking
// command with it.
func TestNothingIsPoppedForADeadClient(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	for name, end := range map[string]func(*client){"closed": (*client).close, "reset": (*client).reset, "half closed": (*client).shutWrite} {
		for _, prelude := range []string{"", line("PING")} {
			c := w.dial()
			c.send(prelude + line("BLPOP queue 0"))
			w.blocked(node, 1)
			end(c)
			w.blocked(node, 0)
			w.do(node, "RPUSH", "queue", "x")
			if got := w.do(node, "LLEN", "queue"); got != int64(1) {
				t.Errorf("%s: the queue has %v elements", name, got)
			}
			w.do(node, "DEL", "queue")
		}
	}
	eventually(t, "all to be let go", func() bool { return w.p.Stats().Clients == 0 })
}

// TestBlockedClientsDoNotHoldOthersUp, nor themselves: what stands behind the
// blocking command is answered after it.
func TestBlockedClientsDoNotHoldOthersUp(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	c.send(lines("BLPOP queue 0", "PING"))
	w.blocked(node, 1)
	d.want(integer(1), "RPUSH", "queue", "x")
	c.expect(array(bulk("queue"), bulk("x")), pong)
	c.want("*-1\r\n", "BLPOP", "queue", "0.01")
	c.want("*-1\r\n", "BLMOVE", "queue", "other", "LEFT", "RIGHT", "0.01")
	c.want("*-1\r\n", "XREAD", "BLOCK", "5", "STREAMS", "stream", "$")
}

// TestBlockingCommandIsIssuedAgain: with the time that is left, on the new master.
func TestBlockingCommandIsIssuedAgain(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	commands := []string{"BLPOP queue 100", "BRPOP queue 100", "BLMOVE queue other LEFT RIGHT 100", "BRPOPLPUSH queue other 0",
		"BLMPOP 100 1 queue LEFT", "BZPOPMIN zset 100", "XREAD BLOCK 100000 STREAMS stream 0", "XREAD COUNT 1 BLOCK 0 STREAMS stream 0"}
	var clients []*client
	for _, words := range commands {
		c := w.dial()
		c.send(line(words))
		clients = append(clients, c)
	}
	w.blocked(one, len(clients))
	w.move(two.Addr)
	w.blocked(two, len(clients))
	w.blocked(one, 0)
	for range 5 {
		w.do(two, "RPUSH", "queue", "x")
	}
	w.do(two, "ZADD", "zset", "1", "x")
	w.do(two, "XADD", "stream", "1-1", "f", "v")
	for i, c := range clients {
		if got := c.read(); !strings.Contains(got, "x\r\n") && !strings.Contains(got, "1-1") {
			t.Errorf("%s: %q", commands[i], got)
		}
	}
	if st := w.counters(); st.Resent != uint64(len(clients)) || st.Refused["uncertain"] != 0 {
		t.Errorf("%+v", st)
	}
}

// TestDemotedMasterUnblocksAndTheCommandIsSentAgain: a real demotion answers
// -UNBLOCKED, which says that nothing was popped.
func TestDemotedMasterUnblocksAndTheCommandIsSentAgain(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.send(line("BLPOP queue 0"))
	w.blocked(one, 1)
	host, port, _ := strings.Cut(two.Addr, ":")
	w.do(one, "REPLICAOF", host, port)
	w.blocked(one, 0)
	w.move(two.Addr)
	w.blocked(two, 1)
	w.do(two, "RPUSH", "queue", "x")
	c.expect(array(bulk("queue"), bulk("x")))
}

// TestUnblockedByAClientIsNoRefusal: CLIENT UNBLOCK ... ERROR is meant for the
// client.
func TestUnblockedByAClientIsNoRefusal(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	id := strings.Trim(c.ask("CLIENT", "ID"), ":\r\n")
	c.send(line("BLPOP queue 0"))
	w.blocked(node, 1)
	d.want(integer(1), "CLIENT", "UNBLOCK", id, "ERROR")
	c.expect("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
	c.want(pong, "PING")
}

// TestReissueKeepsNoMoreThanTheTimeLeft looks at the words themselves.
func TestReissueKeepsNoMoreThanTheTimeLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		flags, words string
		at           int
		unit         time.Duration
	}{
		"BLPOP": {array("+write\r\n", "+blocking\r\n"), "BLPOP queue 1000", 2, time.Second},
		"XREAD": {array("+readonly\r\n", "+blocking\r\n"), "XREAD BLOCK 1000000 STREAMS s 0", 2, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := redistest.NewScriptedNode(t), redistest.NewScriptedNode(t)
			for _, n := range []*redistest.ScriptedNode{a, b} {
				n.Handle("COMMAND", redistest.Raw(array(array(bulk(strings.ToLower(name)), integer(-3), tc.flags, integer(1), integer(1), integer(1)))))
			}
			a.Handle(name, redistest.Hang)
			b.Handle(name, redistest.Raw("*-1\r\n"))
			w := newWorld(t, a.Addr())
			w.nodes = append(w.nodes, a, b)
			c := w.dial()
			begun := time.Now()
			c.send(line(tc.words))
			w.await(a, name)
			w.move(b.Addr())
			c.expect("*-1\r\n")
			passed := time.Since(begun)
			words := strings.Fields(heard(b)[0])
			left, err := strconv.ParseFloat(words[tc.at], 64)
			if waited := 1000*time.Second - time.Duration(left*float64(tc.unit)); err != nil || waited <= 0 || waited > passed+time.Millisecond {
				t.Errorf("issued again as %q after %v", words, passed)
			}
		})
	}
}

// TestWaitAfterAMove: WAIT speaks of the writes of its connection. On a new one
// Redis would say that all replicas have them, whatever became of them.
func TestWaitAfterAMove(t *testing.T) {
	w, a, b := twoNodes(t)
	for _, n := range []*redistest.ScriptedNode{a, b} {
		n.Handle("WAIT", redistest.Raw(":7\r\n"))
	}
	c, d := w.dial(), w.dial()
	c.want(ok, "SET", "k", "1")
	c.want(integer(7), "WAIT", "1", "0")
	w.move(b.Addr())
	c.want("$-1\r\n", "GET", "k")
	c.want(integer(0), "WAIT", "1", "0")
	c.want(ok, "SET", "k", "2")
	c.want(integer(7), "WAIT", "1", "0")
	d.want(integer(7), "WAIT", "1", "0") // has never been anywhere else
	a.Handle("WAIT", redistest.Hang)
	w.move(a.Addr())
	c.want(ok, "SET", "k", "3")
	c.send(line("WAIT 1 0"))
	w.await(a, "WAIT")
	w.move(b.Addr())
	c.expect(integer(0))
}

// TestBlockingClientHeldAndGone: while it waits for a master its client leaves.
func TestBlockingClientHeldAndGone(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr, func(cfg *config.Config) { cfg.Failover.FenceTimeout = config.Duration(patience) })
	c := w.dial()
	c.want(pong, "PING")
	w.fence()
	c.send(line("BLPOP queue 0"))
	eventually(t, "a client that waits", func() bool { return w.p.Stats().Masters[0].Waiting == 1 })
	c.close()
	eventually(t, "it to be let go", func() bool { return w.p.Stats().Clients == 0 })
	w.move(two.Addr)
	w.dial().want(integer(1), "RPUSH", "queue", "x")
	if got := w.do(two, "LLEN", "queue"); !slices.Contains([]any{int64(1)}, got) {
		t.Errorf("the queue has %v elements", got)
	}
}
