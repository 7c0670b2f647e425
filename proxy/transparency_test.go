package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/redistest"
)

// TestTransparency sends the same bytes straight to one Redis and through the
// proxy to another, cut at random: the same bytes must come back.
func TestTransparency(t *testing.T) {
	pair := pair{t: t, direct: realRedis(t), behind: realRedis(t)}
	w := newWorld(t, pair.behind.Addr)
	pair.w = w
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	for seed := range rounds {
		talk := newTalk(uint64(seed))
		if diff := pair.differ(w.ctx, talk); diff != "" {
			talk.said, diff = pair.shrink(w.ctx, talk.said, diff)
			t.Fatalf("seed %d: %s\nof\n%s", seed, diff, talk)
		}
		w.conserved()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, talk)
		}
	}
	if st := w.counters(); st.InFlight != 0 || st.Refused["uncertain"] != 0 {
		t.Errorf("%+v", st)
	}
}

// pair are two servers with the same data, one of them behind the proxy.
type pair struct {
	t              *testing.T
	direct, behind *redistest.Node
	w              *world
}

// differ says where the answers differ, "" if they do not.
func (p *pair) differ(ctx context.Context, k *talk) string {
	for _, n := range []*redistest.Node{p.direct, p.behind} {
		if _, err := n.Do(ctx, "FLUSHALL"); err != nil {
			p.t.Fatal(err)
		}
	}
	want, wrong := k.with(p.t, p.direct.Addr)
	if wrong != nil {
		p.t.Fatalf("the server itself: %v after %q, of\n%s", wrong, cropped(want), k)
	}
	got, wrong := k.with(p.t, p.w.addr)
	wrong = errors.Join(wrong, p.sessionsEnd())
	at := firstDifference(want, got)
	if at < 0 && wrong == nil {
		return ""
	}
	at = max(0, at-80)
	return fmt.Sprintf("\n  direct ...%q\n   proxy ...%q %v", cropped(want[at:]), cropped(got[at:]), wrong)
}

// sessionsEnd waits for the session to end, which its client has, and ends it by
// force if it does not: it would disturb the next talk.
func (p *pair) sessionsEnd() (err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(silence); p.w.p.Stats().Clients > 0; <-tick.C {
		if time.Now().After(end) {
			err = errors.New("its session does not end with its client")
			p.w.onLoop(p.w.p.loops[0], (*loop).cutAll)
		}
	}
	return err
}

// shrink leaves out what the difference does not need: large parts first.
func (p *pair) shrink(ctx context.Context, said [][]byte, diff string) ([][]byte, string) {
	end := time.Now().Add(patience)
	for part := len(said) / 2; part > 0; part /= 2 {
		for i := len(said) - 2 - part; i >= 0 && time.Now().Before(end); i-- {
			fewer := &talk{r: rand.New(rand.NewPCG(1, 2)), said: slices.Delete(slices.Clone(said), i, i+part)}
			if d := p.differ(ctx, fewer); d != "" {
				said, diff = fewer.said, d
				i -= part - 1
			}
		}
	}
	return said, diff
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// talk is what one client says from the beginning to QUIT.
type talk struct {
	r    *rand.Rand
	said [][]byte
	open bool // perhaps a transaction is
}

func (k *talk) String() string {
	var b strings.Builder
	for _, s := range k.said {
		fmt.Fprintf(&b, "  %s\n", cropped(fmt.Sprintf("%q", s)))
	}
	return b.String()
}

// newTalk makes one up; the same seed gives the same.
func newTalk(seed uint64) *talk {
	k := &talk{r: rand.New(rand.NewPCG(seed, 2))}
	if k.r.IntN(2) == 0 {
		k.say("HELLO", "3")
	}
	for range 5 + k.r.IntN(40) {
		k.one()
	}
	k.say("RESET") // under CLIENT REPLY OFF Redis ends no connection
	if k.r.IntN(8) == 0 {
		k.raw(protocolErrors[k.r.IntN(len(protocolErrors))])
	} else {
		k.say("QUIT")
	}
	return k
}

// protocolErrors end a connection, in Redis with these bytes as the last.
var protocolErrors = []string{
	"*1\r\n!3\r\n", "*2\r\n$3\r\nGET\r\n:5\r\n", "*9999999999\r\n", "*1\r\n$-5\r\n", "*1\r\n$999999999999\r\n", "*x\r\n", "SET \"a\r\n",
}

func (k *talk) raw(s string)       { k.said = append(k.said, []byte(s)) }
func (k *talk) say(args ...string) { k.said = append(k.said, command(args...)) }
func (k *talk) of(all ...string) string {
	return all[k.r.IntN(len(all))]
}

// one adds one command, or a few that belong together.
func (k *talk) one() {
	switch n := k.r.IntN(100); {
	case n < 35:
		k.data()
	case n < 45:
		k.mistake()
	case n < 58:
		k.transaction()
	case n < 66:
		k.say("SELECT", k.of("0", "0", "1", "9", "15", "16", "x"))
	case n < 76 && !k.open:
		k.subscription()
	case n < 88:
		k.session()
	case n < 93:
		k.inline()
	case n < 96:
		k.blocking()
	default:
		k.large()
	}
}

func (k *talk) data() {
	key := k.of("k1", "k2", "k3")
	switch k.r.IntN(16) {
	case 0, 1:
		k.say("SET", key, k.of("v", "", "a longer value", "12", "\r\n$-1\r\n", "\x00\xff"))
	case 2, 3:
		k.say("GET", key)
	case 4:
		k.say("INCR", "n")
	case 5:
		k.say("RPUSH", "list", "a", "b", "c")
	case 6:
		k.say("LRANGE", "list", "0", "-1")
	case 7:
		k.say("HSET", "hash", "f", key)
	case 8:
		k.say("HGETALL", "hash")
	case 9:
		k.say("ZADD", "zset", "1.5", key)
	case 10:
		k.say("ZRANGE", "zset", "0", "-1", "WITHSCORES")
	case 11:
		k.say("SADD", "set", k.of("1", "2", "3"))
		k.say("SMEMBERS", "set")
	case 12:
		k.say("MGET", "k1", "nothing", "k2")
	case 13:
		k.say("DEL", key, "list")
	case 14:
		k.say("EVAL", k.of("return 1", "return {1,{2,'x'},false}", "return redis.error_reply('MINE own')", "return redis.call('GET','k1')",
			"redis.setresp(3); return {double=1.5}", "redis.setresp(3); return true", "return {}"), "0")
	case 15:
		k.say("XADD", "stream", "*x", "f", "v")
		k.say("XRANGE", "stream", "-", "+")
	}
}

// mistake is an error that changes nothing but what is queued.
func (k *talk) mistake() {
	switch k.r.IntN(9) {
	case 0:
		k.say("GET")
	case 1:
		k.say("NOSUCHCOMMAND", "x", "y")
	case 2:
		k.say("LPUSH", "hash", "x")
	case 3:
		k.say("SET", "k1", "v", "NONSENSE")
	case 4:
		k.say("EVALSHA", "0000000000000000000000000000000000000000", "0")
	case 5:
		k.say("AUTH", "nobody", "nothing")
	case 6:
		k.say("AUTH", "nothing")
	case 7:
		k.say("CLIENT", "NOSUCHSUB")
	case 8:
		k.say("EXEC", "with", "arguments")
	}
}

func (k *talk) transaction() {
	switch k.r.IntN(10) {
	case 0, 1:
		k.say("MULTI")
		k.open = true
	case 2, 3:
		k.say("EXEC")
		k.open = false
	case 4:
		k.say("DISCARD")
		k.open = false
	case 5:
		k.say("WATCH", "k1", "k2")
	case 6:
		k.say("UNWATCH")
	default:
		k.say("MULTI")
		for range k.r.IntN(4) {
			k.data()
		}
		if k.r.IntN(4) == 0 {
			k.say("SELECT", k.of("0", "3"))
		}
		k.say(k.of("EXEC", "EXEC", "EXEC", "DISCARD"))
		k.open = false
	}
}

// subscription always says what to leave, because the order in which Redis leaves
// all is its own; and never stands inside a transaction, because Redis then
// answers EXEC with more elements than it announces.
func (k *talk) subscription() {
	switch k.r.IntN(9) {
	case 0:
		k.say("SUBSCRIBE", "ch1", "ch2")
	case 1:
		k.say("SUBSCRIBE", "ch1", "ch1")
	case 2:
		k.say("PSUBSCRIBE", "ch*")
	case 3:
		k.say("SSUBSCRIBE", "shard")
	case 4:
		k.say("UNSUBSCRIBE", "ch1")
	case 5:
		k.say("UNSUBSCRIBE", "ch1", "ch2")
		k.say("PUNSUBSCRIBE", "ch*")
		k.say("SUNSUBSCRIBE", "shard")
	case 6:
		k.say("PUBLISH", "ch1", k.of("hello", ""))
	case 7:
		k.say("SPUBLISH", "shard", "hello")
	case 8:
		k.say("SUBSCRIBE", "one")
		k.say(k.of("PING", "GET"))
		k.say("UNSUBSCRIBE", "one")
	}
}

// session are the commands that change the connection.
func (k *talk) session() {
	n := k.r.IntN(16)
	if k.open && (n == 5 || n == 6 || n == 15) {
		return // holdfast does not pass on CLIENT REPLY inside MULTI
	}
	switch n {
	case 0:
		k.say("HELLO", k.of("2", "3", "4", "x"))
	case 1:
		k.say("HELLO", "3", "SETNAME", k.of("me", "not allowed"))
	case 2:
		k.say("HELLO")
	case 3:
		k.say("CLIENT", "SETNAME", k.of("me", "", "not allowed"))
	case 4:
		k.say("CLIENT", "GETNAME")
	case 5:
		k.say("CLIENT", "REPLY", k.of("ON", "SKIP", "nonsense"))
	case 6:
		k.say("CLIENT", "REPLY", "OFF")
		k.data()
		k.say("CLIENT", "REPLY", k.of("ON", "ON", "SKIP"))
	case 7:
		k.say("CLIENT", "NO-EVICT", k.of("on", "off", "maybe"))
	case 8:
		k.say("CLIENT", "TRACKING", k.of("on", "off"))
	case 9:
		k.say("CLIENT", "TRACKING", "on", k.of("OPTIN", "OPTOUT", "NOLOOP"))
		k.say("CLIENT", "CACHING", k.of("yes", "no"))
	case 10:
		k.say("CLIENT", "TRACKINGINFO")
	case 11:
		k.say("RESET")
	case 12:
		k.say("PING", "hello")
	case 13:
		k.say("ECHO", "hello")
	case 14:
		k.say("COMMAND", "INFO", "get", "nothing")
	case 15:
		k.say("CLIENT", "REPLY", "SKIP")
		k.one()
		k.data()
	}
}

func (k *talk) inline() {
	k.raw(k.of("PING\r\n", "\r\n", "*0\r\n", "*-1\r\n", "SET \"k1\" 'a b'\r\n", "GET k1\n", "ECHO \"\\x41\\n\"\r\n", "  PING  hi \r\n", "nonsense\r\n"))
}

func (k *talk) blocking() {
	switch k.r.IntN(5) {
	case 0:
		k.say("BLPOP", "nothing", "0.01")
	case 1:
		k.say("RPUSH", "list", "x")
		k.say("BLPOP", "nothing", "list", "0.01")
	case 2:
		k.say("XREAD", "BLOCK", "5", "STREAMS", "stream", "$")
	case 3:
		k.say("BLMOVE", "nothing", "list", "LEFT", "RIGHT", "0.01")
	case 4:
		k.say("WAIT", "0", "5")
	}
}

func (k *talk) large() {
	n := 60<<10 + k.r.IntN(300<<10)
	switch k.r.IntN(4) {
	case 0:
		k.say("SET", "big", strings.Repeat("x", n))
	case 1:
		k.say("SET", "big", strings.Repeat("y", n))
		k.say("GET", "big")
	case 2:
		k.say("ECHO", strings.Repeat("z", n))
	case 3:
		k.say("EVAL", "local t = {} for i = 1, 20000 do t[i] = i end return t", "0")
	}
}

// what differs from one connection to the next, whoever answers
var ids = regexp.MustCompile(`\$2\r\nid\r\n:\d+\r\n`)

// silence is how long an answer may take before a talk has stalled.
const silence = time.Second

// with holds the talk with the server at addr and returns all it answers, until
// it ends the connection.
func (k *talk) with(t *testing.T, addr string) (string, error) {
	t.Helper()
	nc := connect(t, addr)
	sent := make(chan error, 1)
	go k.speak(nc, sent)
	nc.SetDeadline(time.Now().Add(silence))
	all, err := io.ReadAll(nc)
	nc.Close()
	err = errors.Join(err, <-sent)
	return ids.ReplaceAllString(string(all), "$$2\r\nid\r\n:0\r\n"), err
}

// speak sends it all, cut at random; it ends with the last byte or the connection.
func (k *talk) speak(nc net.Conn, sent chan<- error) {
	out := bytes.Join(k.said, nil)
	for len(out) > 0 {
		n := min(len(out), 1+k.r.IntN(400))
		if len(out) > 10000 {
			n = min(len(out), 1+k.r.IntN(100<<10))
		}
		if _, err := nc.Write(out[:n]); err != nil {
			sent <- err
			return
		}
		out = out[n:]
	}
	sent <- nil
}
