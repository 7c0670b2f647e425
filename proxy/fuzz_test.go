package proxy

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// tape is what a fuzzed node answers: one piece to each command.
type tape struct {
	mu   sync.Mutex
	left []byte
	cuts *rand.Rand
}

func (tp *tape) load(answers []byte, seed uint64) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.left, tp.cuts = answers, rand.New(rand.NewPCG(seed, 3))
}

// next is a few bytes more; at the end of the tape the connection is cut.
func (tp *tape) next(c *redistest.Conn, _ []string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if len(tp.left) == 0 {
		c.Cut()
		return
	}
	n := 1 + tp.cuts.IntN(len(tp.left))
	c.WriteRaw(tp.left[:n])
	tp.left = tp.left[n:]
}

// fuzzedNode proves its role as it should and answers everything else from the
// tape.
func fuzzedNode(f *testing.F, tp *tape) *redistest.ScriptedNode {
	n := redistest.NewScriptedNode(f)
	for _, name := range []string{"", "GET", "SET", "ECHO", "SELECT", "QUIT", "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"} {
		n.Handle(name, tp.next)
	}
	return n
}

// conversations are what the fuzzer begins with.
var conversations = []struct{ client, server string }{
	{lines("SET k v", "GET k"), ok + bulk("v")},
	{"GET k\r\nnonsense", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n$-1\r\n"},
	{lines("MULTI", "SET k v", "WATCH k", "EXEC", "DISCARD"), ok + queued + queued + array(ok, ok) + "-ERR\r\n"},
	{lines("SUBSCRIBE a b", "PSUBSCRIBE x", "UNSUBSCRIBE", "GET k"), array(bulk("subscribe"), bulk("a"), integer(1)) + array(bulk("subscribe"), bulk("b"), integer(2))},
	{lines("CLIENT REPLY SKIP", "SET k v", "CLIENT REPLY OFF", "GET k", "RESET", "CLIENT REPLY ON"), ok + "+RESET\r\n"},
	{lines("HELLO 3", "AUTH a b", "GET k", "MONITOR"), "_\r\n" + ok + "+1.2 [0 x] \"PING\"\r\n|1\r\n+a\r\n:1\r\n>2\r\n+x\r\n+y\r\n"},
	{lines("SET k v", "SET k v", "WAIT 1 0", "BLPOP q 0"), "-READONLY no\r\n-LOADING no\r\n"},
	{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + string(make([]byte, 70000)), ok},
	{lines("MULTI", "SYNC", "EVAL x 0", "SCRIPT LOAD x", "QUIT"), "-UNBLOCKED force unblock from blocking operation, instance state changed\r\n"},
	{lines("GET k"), "$100000\r\n" + string(make([]byte, 80000))},
	{"*1\r\n!", "+"},
	{"GET k\r\n\"", "+"}, // a protocol error behind a command that is not answered
	{lines("MULTI", "SET k v", "EXEC"), ok + queued + "nonsense\r\n"},
}

// FuzzLoop lets a client and a server say anything at all. Nothing may panic, no
// command may get lost from the books, and the session ends with its client.
func FuzzLoop(f *testing.F) {
	for _, seed := range conversations {
		f.Add([]byte(seed.client), []byte(seed.server), uint64(1))
	}
	tp := &tape{}
	nodes := []*redistest.ScriptedNode{fuzzedNode(f, tp), fuzzedNode(f, tp)}
	w := newWorld(f, nodes[0].Addr(), func(cfg *config.Config) {
		cfg.Hold.MaxWait = config.Duration(50 * time.Millisecond)
		cfg.Limits.ReplayBytes = 1 << 10
	})
	w.nodes = append(w.nodes, nodes...)
	f.Fuzz(func(t *testing.T, said, answers []byte, seed uint64) {
		tp.load(answers, seed)
		cuts := rand.New(rand.NewPCG(seed, 4))
		c := dialTo(t, w.addr)
		c.nc.SetDeadline(time.Now().Add(patience))
		here := *w
		here.t = t
		for len(said) > 0 {
			n := 1 + cuts.IntN(len(said))
			if _, err := c.nc.Write(said[:n]); err != nil {
				break // refused for good, as a protocol error is
			}
			said = said[n:]
			switch cuts.IntN(32) { // and now and then a failover
			case 0:
				here.move(nodes[cuts.IntN(2)].Addr())
			case 1:
				here.fence()
				here.abort()
			}
		}
		w.epoch = here.epoch
		c.shutWriteIfOpen()
		c.nc.SetReadDeadline(time.Now().Add(time.Duration(seed%20) * time.Millisecond))
		io.Copy(io.Discard, c.nc)
		c.reset()
		eventually(t, "the session to end with its client", func() bool { return w.p.Stats().Clients == 0 })
		here.onLoop(w.p.loops[0], func(l *loop) {
			b := l.books()
			b.unexpected = 0 // the server says what nobody asked for
			for _, slot := range l.slots {
				if u := slot.u; u != nil && (u.share == nil && u.s == nil || u.share != nil && u.share.members == 0) {
					b.upstreams-- // a spare, or nobody's
				}
			}
			if err := b.balance(); err != nil || b.inFlight != 0 || b.upstreams != 0 {
				t.Errorf("%v, %d in flight, %d upstreams", err, b.inFlight, b.upstreams)
			}
			l.sites[0].count.clear() // the next input is on its own
		})
	})
}

func (c *counts) clear() {
	for i := range c.stats {
		c.stats[i].Store(0)
	}
	for i := range c.refusals {
		c.refusals[i].Store(0)
	}
}
