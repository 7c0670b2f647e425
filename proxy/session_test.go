package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/config"
)

// TestSessionIsFoundAgain: name, library, database, protocol and the other
// settings of a connection, on two real servers.
func TestSessionIsFoundAgain(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.wantPrefix("%7\r\n", "HELLO", "3", "SETNAME", "me")
	c.want(ok, "SELECT", "5")
	c.want(ok, "CLIENT", "NO-EVICT", "on")
	c.want(ok, "CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "p:")
	d := w.dial()
	d.want(ok, "CLIENT", "SETNAME", "other")
	d.want(ok, "SELECT", "3")
	d.want(ok, "SELECT", "0")
	w.move(two.Addr)
	c.expect(push(bulk("invalidate"), "_\r\n"))
	info := c.ask("CLIENT", "INFO")
	for _, part := range []string{" name=me ", " db=5 ", " resp=3", " flags=tBe "} {
		if !strings.Contains(info, part) {
			t.Errorf("%q has no %q", info, part)
		}
	}
	c.want(ok, "SET", "k", "v")
	c.want("%1\r\n$1\r\na\r\n:1\r\n", "EVAL", "redis.setresp(3); return {map={a=1}}", "0")
	d.want(bulk("other"), "CLIENT", "GETNAME")
	d.want("$-1\r\n", "GET", "k") // another database
	d.want(ok, "SET", "p:1", "v")
	c.expect(push(bulk("invalidate"), array(bulk("p:1"))))
	if got := w.do(two, "DBSIZE"); got != int64(1) {
		t.Errorf("database 0 has %v keys", got)
	}
}

// TestAcknowledgedStateOnly: what Redis has refused is not replayed.
func TestAcknowledgedStateOnly(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.want(ok, "CLIENT", "SETNAME", "good")
	c.wantPrefix("-ERR ", "CLIENT", "SETNAME", "not good")
	c.want(ok, "SELECT", "2")
	c.wantPrefix("-ERR ", "SELECT", "99")
	c.wantPrefix("-NOPROTO ", "HELLO", "4")
	c.send(lines("MULTI", "SELECT 4", "DISCARD", "MULTI", "SELECT 6", "SELECT 77", "EXEC"))
	c.expect(ok, queued, ok, ok, queued, queued)
	c.expectPrefix("*2\r\n+OK\r\n-ERR ")
	w.move(two.Addr)
	info := c.ask("CLIENT", "INFO")
	for _, part := range []string{" name=good ", " db=6 ", " resp=2"} {
		if !strings.Contains(info, part) {
			t.Errorf("%q has no %q", info, part)
		}
	}
	c.want("+RESET\r\n", "RESET")
	w.move(one.Addr)
	info = c.ask("CLIENT", "INFO")
	for _, part := range []string{" name= ", " db=0 "} {
		if !strings.Contains(info, part) {
			t.Errorf("after RESET %q has no %q", info, part)
		}
	}
}

// TestThousandsOfSubscriptionsAreFoundAgain: and the client sees nothing of it
// but the messages.
func TestThousandsOfSubscriptionsAreFoundAgain(t *testing.T) {
	const channels = 3000
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			one, two := realRedis(t), realRedis(t)
			w := newWorld(t, one.Addr)
			c := w.dial()
			c.ask("HELLO", proto)
			names := []string{"SUBSCRIBE"}
			for i := range channels {
				names = append(names, fmt.Sprintf("channel-%d", i))
			}
			c.cmd(names...)
			c.cmd("PSUBSCRIBE", "pattern:*")
			c.cmd("SSUBSCRIBE", "shard")
			for range channels + 2 {
				c.read()
			}
			c.cmd("UNSUBSCRIBE", "channel-1")
			c.read()
			w.move(two.Addr)
			eventually(t, "all subscriptions", func() bool {
				return fmt.Sprint(w.do(two, "PUBSUB", "NUMSUB", "channel-0", "channel-1", "channel-2999")) == "[channel-0 1 channel-1 0 channel-2999 1]" &&
					w.do(two, "PUBSUB", "NUMPAT") == int64(1) && fmt.Sprint(w.do(two, "PUBSUB", "SHARDCHANNELS")) == "[shard]"
			})
			for _, to := range []string{"channel-0", "channel-1500", "channel-2999", "pattern:x"} {
				w.do(two, "PUBLISH", to, "hello")
			}
			w.do(two, "SPUBLISH", "shard", "hello")
			frame := array
			if proto == "3" {
				frame = push
			}
			for _, from := range []string{"channel-0", "channel-1500", "channel-2999"} {
				c.expect(frame(bulk("message"), bulk(from), bulk("hello")))
			}
			c.expect(frame(bulk("pmessage"), bulk("pattern:*"), bulk("pattern:x"), bulk("hello")))
			c.expect(frame(bulk("smessage"), bulk("shard"), bulk("hello")))
			c.cmd("UNSUBSCRIBE", "channel-0")
			c.expect(frame(bulk("unsubscribe"), bulk("channel-0"), integer(channels+1-2)))
		})
	}
}

// TestMessagesGoOnUntilThereIsAnotherMaster: a fence stops writing, not the
// messages of the old master's last moments.
func TestMessagesGoOnUntilThereIsAnotherMaster(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
	w.fence()
	w.do(one, "PUBLISH", "ch", "last")
	c.expect(array(bulk("message"), bulk("ch"), bulk("last")))
	w.move(two.Addr)
	eventually(t, "the subscription", func() bool { return w.do(two, "PUBLISH", "ch", "first") == int64(1) })
	c.expect(array(bulk("message"), bulk("ch"), bulk("first")))
}

func TestMonitorIsFoundAgain(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.want(ok, "MONITOR")
	w.move(two.Addr)
	eventually(t, "the monitor", func() bool {
		info, err := two.Info(w.ctx, "commandstats")
		return err == nil && info["cmdstat_monitor"] != ""
	})
	w.do(two, "SET", "k", "v")
	for !strings.Contains(c.expectPrefix("+1"), `"SET" "k" "v"`) {
	}
}

func TestReplyOffIsFoundAgain(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.send(lines("SET k 0", "CLIENT REPLY OFF", "SET k 1"))
	c.expect(ok)
	eventually(t, "the write", func() bool { return w.do(one, "GET", "k") == "1" })
	w.move(two.Addr)
	c.send(lines("SET k 2", "CLIENT REPLY ON", "GET k"))
	c.expect(ok, bulk("2"))
}

// TestScriptsAreKnownToTheNewMaster: since Redis 7 the script cache is not
// replicated.
func TestScriptsAreKnownToTheNewMaster(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.want(integer(42), "EVAL", "return 42", "0")
	sha := strings.Split(c.ask("SCRIPT", "LOAD", "return 43"), "\r\n")[1]
	w.move(two.Addr)
	c.want(integer(43), "EVALSHA", sha, "0")
	c.want(integer(42), "EVALSHA", "1fa00e76656cc152ad327c13fe365858fd7be306", "0")
}

// TestRedirectedTrackingCannotBeCarried: its target is an id that means nothing
// on another node.
func TestRedirectedTrackingCannotBeCarried(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c, d := w.dial(), w.dial()
	id := strings.Trim(d.ask("CLIENT", "ID"), ":\r\n")
	d.want(array(bulk("subscribe"), bulk("__redis__:invalidate"), integer(1)), "SUBSCRIBE", "__redis__:invalidate")
	c.want(ok, "CLIENT", "TRACKING", "on", "REDIRECT", id)
	w.move(two.Addr)
	c.expectEnd()
	if st := w.counters(); st.Closed["state"] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestManyClientsAreCarried: more than are prepared at a time.
func TestManyClientsAreCarried(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
			w := newWorld(t, one.Addr, func(cfg *config.Config) { cfg.Limits.Loops = loops })
			var clients []*client
			for i := range 3 * maxPreparing {
				c := w.dial()
				c.want(ok, "CLIENT", "SETNAME", fmt.Sprintf("client-%d", i))
				clients = append(clients, c)
			}
			w.fence()
			for _, c := range clients {
				c.send(lines("INCR n", "CLIENT GETNAME"))
			}
			w.move(two.Addr)
			var seen []string
			for i, c := range clients {
				seen = append(seen, c.expectPrefix(":"))
				c.expect(bulk(fmt.Sprintf("client-%d", i)))
			}
			slices.Sort(seen)
			if n := len(slices.Compact(seen)); n != len(clients) {
				t.Errorf("%d clients counted to %d", len(clients), n)
			}
			w.do(two, "DEL", "n")
			if st := w.counters(); st.Closed["client"]+st.Closed["login"]+st.Closed["state"] != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
