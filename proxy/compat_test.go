package proxy

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/redistest"
)

// realRedis is one real server without Sentinels.
func realRedis(t testing.TB, args ...string) *redistest.Node {
	t.Helper()
	return redistest.New(t, redistest.Options{Args: args}).Nodes[0]
}

// do asks a node itself, not through the proxy.
func (w *world) do(n *redistest.Node, args ...any) any {
	w.t.Helper()
	reply, err := n.Do(w.ctx, args...)
	if err != nil {
		w.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

func TestPipelineOfAThousand(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	var out strings.Builder
	for range 1000 {
		out.Write(command("INCR", "n"))
	}
	c.send(out.String())
	for i := range 1000 {
		c.expect(integer(i + 1))
	}
}

func TestInlineCommands(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	c.send("PING\r\nPING\n\r\n  SET \"a key\" 'it\\'s' \r\nGET \"a key\"\r\n*0\r\nnonsense\r\n")
	c.expect(pong, pong, ok, bulk("it's"))
	c.expectPrefix("-ERR unknown command 'nonsense'")
	c.send(strings.Repeat("x", 70<<10))
	c.expect("-ERR Protocol error: too big inline request\r\n")
	c.expectEnd()
}

func TestProtocolErrorsAreRedisOwn(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	for request, want := range map[string]string{
		"*x\r\n":                         "-ERR Protocol error: invalid multibulk length\r\n",
		"*2147483648\r\n":                "-ERR Protocol error: invalid multibulk length\r\n",
		"*1\r\n+PING\r\n":                "-ERR Protocol error: expected '$', got '+'\r\n",
		"*1\r\n$-1\r\n":                  "-ERR Protocol error: invalid bulk length\r\n",
		"*1\r\n$536870913\r\n":           "-ERR Protocol error: invalid bulk length\r\n",
		"SET k \"v\r\n":                  "-ERR Protocol error: unbalanced quotes in request\r\n",
		"*" + strings.Repeat("1", 70000): "-ERR Protocol error: too big mbulk count string\r\n",
	} {
		c := w.dial()
		c.send("PING\r\n" + request)
		c.expect(pong, want)
		c.expectEnd()
	}
	if st := w.counters(); st.Refused["protocol"] != st.Accepted-st.Answered {
		t.Errorf("%+v", st)
	}
}

// TestProtocolErrorInsideALargeCommand: the beginning of the command has been
// passed on already when its rest turns out to be none.
func TestProtocolErrorInsideALargeCommand(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c := w.dial()
	c.want(pong, "PING")
	c.send(line("GET nothing") + "*3\r\n$3\r\nSET\r\n$100000\r\n" + strings.Repeat("k", 100000) + "\r\n!nonsense\r\n")
	c.expect("$-1\r\n", "-ERR Protocol error: expected '$', got '!'\r\n")
	c.expectEnd()
	eventually(t, "the session and its upstream to be gone", func() bool {
		st := w.p.Stats()
		return st.Clients == 0 && st.Upstreams == 0
	})
}

func TestHalfClosedClientIsAnswered(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	for name, prelude := range map[string]string{"a fresh connection": "", "one in use": line("PING")} {
		for range 20 {
			c := w.dial()
			if prelude != "" {
				c.send(prelude)
				c.expect(pong)
			}
			c.send(lines("SET k v", "GET k"))
			c.shutWrite()
			for _, want := range []string{ok, bulk("v")} {
				if got, err := c.next(); got != want {
					t.Fatalf("%s: %q, %v", name, got, err)
				}
			}
			c.expectEnd()
		}
	}
	c := w.dial()
	c.send(lines("SET k v", "HELLO 3", "GET nothing", "AUTH x", "PING"))
	c.shutWrite()
	c.expect(ok)
	c.expectPrefix("%7\r\n")
	c.expect("_\r\n")
	c.expectPrefix("-ERR AUTH ")
	c.expect(pong)
	c.expectEnd()
	c = w.dial()
	c.send(strings.Repeat(line("INCR n"), 5000))
	c.shutWrite()
	for i := range 5000 {
		c.expect(integer(i + 1))
	}
	c.expectEnd()
	eventually(t, "all to have ended", func() bool { return w.p.Stats().Clients == 0 })
}

// TestEndBehindWhatWaits: a client's end is seen in the round in which the upstream
// comes that its command waits for. The command is older.
func TestEndBehindWhatWaits(t *testing.T) {
	onlyShared(t)
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	eventually(t, "the client", func() bool { return w.p.Stats().Listeners[0].Clients == 1 })
	ready, sent, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go w.onLoop(w.p.loops[0], func(l *loop) {
		close(ready)
		<-sent
		s := l.only()
		l.clientEvent(s, evRead&^evGone)
		eventually(t, "the upstream", func() bool { l.readMail(); return s.phase == phaseAttached })
		c.shutWrite()
		eventually(t, "the client's end", func() bool {
			_, _, err := syscall.Recvfrom(s.fd, make([]byte, 1), syscall.MSG_PEEK)
			return err == nil
		})
		l.clientEvent(s, evRead&^evDead)
		close(ended)
	})
	<-ready
	c.send(line("SET k v"))
	close(sent)
	<-ended
	c.expect(ok)
	c.expectEnd()
}

// only is the only session there is.
func (l *loop) only() *session {
	for _, slot := range l.slots {
		if slot.s != nil {
			return slot.s
		}
	}
	return nil
}

func TestMonitor(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c, d := w.dial(), w.dial()
	c.want(ok, "MONITOR")
	d.want(ok, "SET", "k", "+1")
	for !strings.Contains(c.expectPrefix("+1"), `"SET" "k" "+1"`) { // what holdfast says is seen too
	}
	c.cmd("PING") // its own commands are seen, before or after their replies
	both := []string{c.read(), c.read()}
	if slices.Sort(both); !strings.Contains(both[0], `"PING"`) || both[1] != pong {
		t.Errorf("%q", both)
	}
	c.cmd("RESET")
	for c.read() != "+RESET\r\n" {
	}
	d.want(ok, "SET", "k", "v")
	c.want(bulk("v"), "GET", "k")
}

func TestReplicationIsRefused(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	for _, args := range [][]string{{"SYNC"}, {"psync", "?", "-1"}, {"REPLCONF", "ACK", "1"}} {
		c.cmd(args...)
		c.expectPrefix("-ERR replication commands are not passed on")
	}
	c.want(pong, "PING")
	if st := w.counters(); st.Refused["policy"] != 3 {
		t.Errorf("%+v", st)
	}
}

// TestReplySkipInAPipeline: the silenced commands stand between others that are
// answered in the same buffer.
func TestReplySkipInAPipeline(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	for i := range 200 {
		c.send(lines("SET k v", "CLIENT REPLY SKIP", "INCR n", "GET k", "CLIENT REPLY OFF", "INCR n", "INCR n", "CLIENT REPLY ON", "GET n", "HELLO 2"))
		c.expect(ok, bulk("v"), ok, bulk(fmt.Sprint(3*(i+1))))
		c.expectPrefix("*14\r\n")
	}
	c.want(ok, "QUIT")
	c.expectEnd()
}

func TestLargeCommandUnderReplyOff(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	c.send(line("CLIENT REPLY OFF"))
	c.cmd("SET", "k", strings.Repeat("x", 300000))
	c.send(line("CLIENT REPLY ON"))
	c.expect(ok)
	c.send(line("CLIENT REPLY SKIP"))
	c.cmd("SET", "k2", strings.Repeat("y", 300000))
	c.want(integer(300000), "STRLEN", "k2")
	c.cmd("HELLO", "3")
	c.expectPrefix("%7\r\n")
}

func TestReplyOffAndWhatIsAnsweredAllTheSame(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	for name, say := range map[string]struct {
		send string
		want []string
	}{
		"RESET":        {lines("CLIENT REPLY OFF", "RESET", "PING"), []string{"+RESET\r\n", pong}},
		"SUBSCRIBE":    {lines("CLIENT REPLY OFF", "SUBSCRIBE ch"), []string{array(bulk("subscribe"), bulk("ch"), integer(1))}},
		"a subscriber": {lines("SUBSCRIBE ch", "CLIENT REPLY OFF", "PING"), []string{array(bulk("subscribe"), bulk("ch"), integer(1)), "-ERR Can't execute 'client|reply': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", array(bulk("pong"), bulk(""))}},
		"in MULTI": {lines("MULTI", "CLIENT REPLY OFF", "EXEC", "PING"), []string{ok, "-ERR CLIENT REPLY inside MULTI is not passed on by holdfast\r\n",
			"-EXECABORT Transaction discarded because of previous errors.\r\n", pong}},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.dial()
			c.t = t
			c.send(say.send)
			c.expect(say.want...)
			c.send(line("QUIT"))
			c.nc.CloseWrite()
			for c.fill() == nil {
			}
			if rest := string(c.in); rest != ok && rest != "" {
				t.Errorf("and then %q", rest)
			}
		})
	}
	w.conserved()
}

// TestLoginInsideMulti: Redis queues it, as any other command.
func TestLoginInsideMulti(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	c.send(lines("MULTI", "HELLO 3", "AUTH default x", "EXEC", "PING"))
	c.expect(ok, queued, queued)
	c.expectPrefix("*2\r\n%7\r\n")
	c.expect(pong)
	c.want("_\r\n", "GET", "nothing")
}

func TestSubscribeInsideMulti(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c, d := w.dial(), w.dial()
	c.send(lines("MULTI", "SUBSCRIBE ch", "EXEC"))
	c.expect(ok, queued, array(array(bulk("subscribe"), bulk("ch"), integer(1))))
	d.want(integer(1), "PUBLISH", "ch", "hello")
	c.expect(array(bulk("message"), bulk("ch"), bulk("hello")))
}

func TestUnsubscribeFromAll(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			w := newWorld(t, realRedis(t).Addr)
			c := w.dial()
			c.ask("HELLO", proto)
			c.send(lines("SUBSCRIBE a b c", "PSUBSCRIBE x* y*", "SSUBSCRIBE s", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE", "PING"))
			for range 6 + 6 + 1 {
				c.read()
			}
			c.expect(pong)
			c.want(ok, "SET", "k", "v")
			w.conserved()
		})
	}
}
