package proxy

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// pins are the reasons that were counted, and how often.
func (w *world) pins() map[string]uint64 {
	pins := w.counters().Pins
	maps.DeleteFunc(pins, func(_ string, n uint64) bool { return n == 0 })
	return pins
}

// own is how many sessions have, or wait for, an upstream of their own.
func (w *world) own() (n int) {
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			for _, slot := range l.slots {
				if slot.s != nil && slot.s.pin != pinNone {
					n++
				}
			}
		})
	}
	return n
}

// travels is a way of a session through its upstreams.
type travels struct {
	say     string // requests, each with one reply
	replies int
	why     string // the reason it is counted under, "" for none
	stays   bool   // it does not go back
}

// everyPin is each command that is not shared, and some that are.
var everyPin = map[string]travels{
	"data":                       {lines("SET k v", "GET k", "INCR n", "DEL k", "KEYS x", "SCAN 0", "SORT l"), 7, "", false},
	"scripts":                    {string(command("EVAL", "return 1", "0")) + string(command("SCRIPT", "LOAD", "return 2")) + lines("SCRIPT EXISTS x"), 3, "", false},
	"messages":                   {lines("PUBLISH ch x", "PUBSUB CHANNELS", "SPUBLISH ch x"), 3, "", false},
	"names":                      {lines("CLIENT SETNAME me", "CLIENT GETNAME", "client setname you"), 3, "", false},
	"a stream that is there":     {lines("XADD s 1-1 f v", "XREAD COUNT 1 STREAMS s 0"), 2, "", false},
	"errors":                     {lines("GET", "SET k v NONSENSE", "LPUSH k x", "EVALSHA x 0"), 4, "", false},
	"PING, ECHO, TIME, COMMAND":  {lines("PING", "ECHO x", "TIME", "COMMAND COUNT", "COMMAND INFO get"), 5, "", false},
	"HELLO":                      {lines("HELLO 3", "GET k"), 2, "login", false},
	"HELLO with a name":          {lines("HELLO 3 SETNAME me", "GET k"), 2, "login", false},
	"a login":                    {lines("AUTH default x", "GET k"), 2, "login", false},
	"a refused login":            {lines("AUTH nobody x", "GET k"), 2, "login", false},
	"an unknown database":        {lines("SELECT 5", "GET k"), 2, "login", false},
	"a database that is not":     {lines("SELECT 99", "SELECT x", "GET k"), 3, "login", false},
	"RESET":                      {lines("RESET", "GET k"), 2, "login", false},
	"a transaction":              {lines("MULTI", "SET k v", "EXEC", "GET k"), 4, "transaction", false},
	"a discarded transaction":    {lines("MULTI", "SET k v", "DISCARD", "GET k"), 4, "transaction", false},
	"an aborted transaction":     {lines("MULTI", "SET k", "EXEC", "GET k"), 4, "transaction", false},
	"EXEC alone":                 {lines("EXEC", "DISCARD", "GET k"), 3, "transaction", false},
	"an open transaction":        {lines("MULTI", "SET k v"), 2, "transaction", true},
	"WATCH and UNWATCH":          {lines("WATCH k", "GET k", "UNWATCH", "GET k"), 4, "watch", false},
	"WATCH and EXEC":             {lines("WATCH k", "MULTI", "GET k", "EXEC", "GET k"), 5, "watch", false},
	"WATCH in force":             {lines("WATCH k", "GET k"), 2, "watch", true},
	"BLPOP":                      {lines("BLPOP nothing 0.01", "GET k"), 2, "blocking", false},
	"BLMOVE":                     {lines("BLMOVE nothing there LEFT RIGHT 0.01", "GET k"), 2, "blocking", false},
	"XREAD BLOCK":                {lines("XREAD BLOCK 5 STREAMS s $", "GET k"), 2, "blocking", false},
	"WAIT":                       {lines("SET k v", "WAIT 0 10", "GET k"), 3, "blocking", false},
	"a subscription":             {lines("SUBSCRIBE ch"), 1, "subscribe", true},
	"a subscription that ends":   {lines("SUBSCRIBE ch", "UNSUBSCRIBE ch", "GET k"), 3, "subscribe", false},
	"a pattern that ends":        {lines("PSUBSCRIBE c*", "PUNSUBSCRIBE c*", "GET k"), 3, "subscribe", false},
	"a shard channel that ends":  {lines("SSUBSCRIBE ch", "SUNSUBSCRIBE ch", "GET k"), 3, "subscribe", false},
	"CLIENT ID":                  {lines("CLIENT ID", "GET k"), 2, "client", true},
	"CLIENT INFO":                {lines("CLIENT INFO", "GET k"), 2, "client", true},
	"CLIENT LIST":                {lines("CLIENT LIST", "GET k"), 2, "client", true},
	"CLIENT NO-EVICT":            {lines("CLIENT NO-EVICT on", "GET k"), 2, "client", true},
	"CLIENT TRACKING":            {lines("HELLO 3", "CLIENT TRACKING on", "GET k"), 3, "client", true},
	"CLIENT TRACKING and RESET":  {lines("HELLO 3", "CLIENT TRACKING on", "RESET", "GET k"), 4, "client", false},
	"CLIENT ID and RESET":        {lines("CLIENT ID", "RESET", "GET k"), 3, "client", false},
	"MONITOR and RESET":          {lines("MONITOR", "RESET", "GET k"), 3, "client", false},
	"READONLY":                   {lines("READONLY", "GET k"), 2, "client", true},
	"CONFIG":                     {lines("CONFIG GET port", "GET k"), 2, "admin", false},
	"DEBUG":                      {lines("DEBUG SLEEP 0", "GET k"), 2, "admin", true},
	"SCRIPT KILL":                {lines("SCRIPT KILL", "GET k"), 2, "allow_busy", false},
	"FUNCTION LIST":              {lines("FUNCTION LIST", "GET k"), 2, "allow_busy", false},
	"an unknown command":         {lines("NOSUCHCOMMAND", "GET k"), 2, "unknown_command", true},
	"a command in plain words":   {"PING\r\n" + lines("GET k"), 2, "inline", false},
	"plain words, then nothing":  {"GET k\r\n\r\n" + lines("GET k"), 2, "inline", false},
	"a large command":            {string(command("SET", "big", strings.Repeat("x", 300<<10))) + lines("GET k"), 2, "large", false},
	"ASKING":                     {lines("ASKING", "GET k"), 2, "unknown_command", true},
	"a name in the old protocol": {lines("client Setname x", "CLIENT getname"), 2, "", false},
}

// TestEveryPin: what is not shared is counted by its reason, once, and the
// session goes back when the reason is gone.
func TestEveryPin(t *testing.T) {
	onlyShared(t)
	node := realRedis(t, "--enable-debug-command", "yes")
	for name, way := range everyPin {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, node.Addr)
			w.do(node, "FLUSHALL")
			w.dial().want(pong, "PING") // there is a shared upstream, and the server's table
			c := w.dial()
			c.send(way.say)
			for range way.replies {
				c.read()
			}
			got := w.pins()
			for why, n := range got {
				if way.why == "client" && why == "login" {
					continue // of HELLO and RESET, on the way
				}
				if way.why == "watch" && why == "transaction" {
					continue
				}
				if why != way.why || n > 2 {
					t.Errorf("pins: %v, and not one by %q", got, way.why)
				}
			}
			if got[way.why] == 0 && way.why != "" {
				t.Errorf("pins: %v, and not one by %q", got, way.why)
			}
			if own := w.own(); own != map[bool]int{true: 1}[way.stays] {
				t.Errorf("%d sessions have an upstream of their own", own)
			}
			if st := w.p.Stats(); st.Shared < 1 || st.Upstreams > 4 {
				t.Errorf("%d upstreams, %d of them shared", st.Upstreams, st.Shared)
			}
		})
	}
}

// TestClientLibrariesAreNotPinned: what they all send when they connect leaves
// them shared, on a server that knows all of it as on one that does not.
func TestClientLibrariesAreNotPinned(t *testing.T) {
	onlyShared(t)
	for _, greeting := range []string{
		lines("HELLO 3", "CLIENT SETNAME app", "CLIENT SETINFO lib-name go-redis", "CLIENT SETINFO lib-ver 9.7.0", "SELECT 2"),
		lines("CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 5.0.1", "SELECT 1", "PING"),
		lines("HELLO 2", "CLIENT SETNAME x", "COMMAND DOCS", "PING"),
	} {
		w := newWorld(t, realRedis(t).Addr)
		for range 10 {
			c := w.dial()
			c.send(greeting + line("ECHO end"))
			for c.read() != bulk("end") {
			}
		}
		if own := w.own(); own != 0 {
			t.Errorf("%q: %d of 10 clients have an upstream of their own, pins %v", greeting, own, w.pins())
		}
		if st := w.p.Stats(); st.Shared > 3 {
			t.Errorf("%q: %d shared upstreams for clients of one kind", greeting, st.Shared)
		}
	}
}

// spares is how many connections nobody uses.
func (w *world) spares() (n int) {
	w.t.Helper()
	w.onLoop(w.p.loops[0], func(l *loop) { n = len(l.sites[0].spares.spares) })
	return n
}

// TestSpareIsUsedAgain: pinning costs no dial while a spare connection is there,
// and one that was not used for a while is closed.
func TestSpareIsUsedAgain(t *testing.T) {
	onlyShared(t)
	w := newWorld(t, realRedis(t).Addr)
	stays, c := w.dial(), w.dial()
	stays.want(pong, "PING")
	for range 50 {
		c.send(lines("MULTI", "INCR n", "EXEC"))
		c.expect(ok, queued)
		c.read()
	}
	if st := w.counters(); st.UpstreamsOpened != 2 || st.Pins["transaction"] != 50 || w.spares() != 1 {
		t.Errorf("%d upstreams opened for %v, %d are spare", st.UpstreamsOpened, st.Pins, w.spares())
	}
	w.onLoop(w.p.loops[0], func(l *loop) {
		for _, u := range l.sites[0].spares.spares {
			u.idleSince = l.now.Add(-2 * spareTime)
		}
		l.armWithin(0)
	})
	eventually(t, "the spare to be closed", func() bool { return w.p.Stats().Upstreams == 1 })
	c.send(lines("MULTI", "INCR n", "EXEC"))
	c.expect(ok, queued, array(integer(51)))
}

// TestSpareThatTheServerEnds is not given to anybody, and is no reason to doubt
// the master.
// TestHelloCostsNoDial: a client library's first word changes the protocol, and the
// spares that the clients before have left speak the new one.
func TestHelloCostsNoDial(t *testing.T) {
	onlyShared(t)
	w := newWorld(t, realRedis(t).Addr)
	greet := func(c *client, name string) {
		t.Helper()
		c.wantPrefix("%7\r\n", "HELLO", "3", "SETNAME", name)
		c.want("_\r\n", "GET", "nothing")
		c.want(bulk(name), "CLIENT", "GETNAME")
	}
	w.dial().want("$-1\r\n", "GET", "nothing")
	greet(w.dial(), "first")
	opened := w.counters().UpstreamsOpened
	for i := range 20 {
		c := w.dial()
		if i%2 == 0 {
			c.want("$-1\r\n", "GET", "nothing")
		}
		greet(c, fmt.Sprint("client-", i))
	}
	if got := w.counters().UpstreamsOpened; got != opened {
		t.Errorf("%d upstreams were opened for them", got-opened)
	}
	// Refused, it has changed nothing, whatever the spare was.
	c := w.dial()
	c.send(lines("HELLO 3 AUTH nobody wrong", "GET nothing", "HELLO 3 SETNAME", "GET nothing"))
	c.expectPrefix("-WRONGPASS ")
	c.expect("$-1\r\n")
	c.expectPrefix("-ERR ")
	c.expect("$-1\r\n")
	c.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
}

func TestSpareThatTheServerEnds(t *testing.T) {
	onlyShared(t)
	w, _, _ := twoNodes(t)
	stays, c := w.dial(), w.dial()
	stays.want(ok, "SET", "k", "v")
	c.want(ok, "MULTI")
	c.want(ok, "DISCARD")
	eventually(t, "a spare", func() bool { return w.spares() == 1 })
	before := w.tracker.View()
	w.onLoop(w.p.loops[0], func(l *loop) { shutdownWrite(l.sites[0].spares.spares[0].fd) })
	eventually(t, "the spare to be gone", func() bool { return w.spares() == 0 })
	if v := w.tracker.View(); v != before {
		t.Errorf("a spare that ended makes the View %+v", v)
	}
	c.want(ok, "MULTI")
	c.want(ok, "DISCARD")
}

// TestFormerlySharedSpareThatTheServerEnds: it is nobody's, whoever was dealt with
// last on it.
func TestFormerlySharedSpareThatTheServerEnds(t *testing.T) {
	onlyShared(t)
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c, stays := w.dial(), w.dial()
	stays.want(pong, "PING")
	c.want(ok, "SELECT", "3")
	c.want("-ERR wrong number of arguments for 'get' command\r\n", "GET")
	c.send(line("BLPOP queue 0")) // and the shared upstream of database 3 is nobody's
	w.blocked(node, 1)
	eventually(t, "a spare", func() bool { return w.p.Stats().Shared == 1 && w.spares() > 0 })
	w.onLoop(w.p.loops[0], func(l *loop) {
		for _, u := range l.sites[0].spares.spares {
			shutdownWrite(u.fd)
		}
	})
	eventually(t, "the spares to be gone", func() bool { return w.spares() == 0 })
	d := w.dial()
	d.want(ok, "SELECT", "3")
	d.want(integer(1), "RPUSH", "queue", "x")
	c.expect(array(bulk("queue"), bulk("x")))
	if st := w.counters(); st.Resent != 0 || st.UpstreamsLost != 0 {
		t.Errorf("%+v", st)
	}
}

// TestDressOfASpare: a spare has the name of the session that uses it, and none
// of those that used it before.
func TestDressOfASpare(t *testing.T) {
	onlyShared(t)
	w := newWorld(t, realRedis(t).Addr)
	named, nameless, other := w.dial(), w.dial(), w.dial()
	named.want(ok, "CLIENT", "SETNAME", "me")
	other.want(ok, "CLIENT", "SETNAME", "other")
	inside := func(c *client, want string) {
		t.Helper()
		c.send(lines("WATCH k") + lines("MULTI") + line("CLIENT INFO") + lines("EXEC"))
		c.expect(ok, ok, queued)
		if got := c.read(); !strings.Contains(got, " name="+want+" ") {
			t.Errorf("%q is not called %q", got, want)
		}
	}
	for range 3 {
		inside(named, "me")
		inside(nameless, "")
		inside(other, "other")
	}
	if st := w.counters(); st.UpstreamsOpened > 3 {
		t.Errorf("%d upstreams opened", st.UpstreamsOpened)
	}
}

// TestSparesAreBounded: what many pinned sessions give back at once is not all
// kept.
func TestSparesAreBounded(t *testing.T) {
	onlyShared(t)
	if testing.Short() {
		t.Skip("many clients")
	}
	w := newWorld(t, realRedis(t).Addr)
	var all []*client
	for i := range mostSpares + 20 {
		c := w.dial()
		c.want(ok, "WATCH", fmt.Sprint("k", i))
		all = append(all, c)
	}
	for _, c := range all {
		c.want(ok, "UNWATCH")
	}
	if st := w.p.Stats(); st.Upstreams > mostSpares+1 {
		t.Errorf("%d upstreams are kept", st.Upstreams)
	}
}

// TestModeDedicatedPinsNobody: there is nothing to be pinned off.
func TestModeDedicatedPinsNobody(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) { cfg.Listeners[0].Mode = config.Dedicated })
	c := w.dial()
	c.send(lines("MULTI", "INCR n", "EXEC", "WATCH k", "BLPOP nothing 0.01", "HELLO 2"))
	for range 6 {
		c.read()
	}
	if pins := w.pins(); len(pins) > 0 {
		t.Errorf("pins: %v", pins)
	}
	if st := w.p.Stats(); st.Shared != 0 || st.Upstreams != 1 {
		t.Errorf("%d upstreams, %d shared", st.Upstreams, st.Shared)
	}
}

// TestWithoutATableSessionsStayApart: nothing is known of any command of a server
// that does not tell.
func TestWithoutATableSessionsStayApart(t *testing.T) {
	onlyShared(t)
	a := redistest.NewScriptedNode(t)
	a.Handle("COMMAND", redistest.Error("NOPERM this user has no permissions to run the 'command' command"))
	w := newWorld(t, a.Addr())
	w.nodes = append(w.nodes, a)
	c := w.dial()
	c.want(ok, "SET", "k", "v")
	c.want(bulk("v"), "GET", "k")
	if pins := w.pins(); pins["unknown_command"] == 0 {
		t.Errorf("pins: %v", pins)
	}
}

// TestPinThatWaitedTooLong: what a session was to have an upstream of its own for
// has been refused. The upstream is there for others when it comes.
func TestPinThatWaitedTooLong(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(100e6) })
	stays, c := w.dial(), w.dial()
	stays.want(ok, "SET", "k", "v")
	c.want(ok, "SELECT", "3") // is what is replayed
	noSpares := func() { w.onLoop(w.p.loops[0], func(l *loop) { l.thin(l.sites[0], true) }) }
	noSpares()
	slow := w.shut(a, "SELECT", redistest.OK)
	c.wantPrefix("-MASTERDOWN ", "MULTI")
	slow.open()
	eventually(t, "a spare", func() bool { return w.spares() == 1 })
	if n := w.own(); n != 0 {
		t.Errorf("%d sessions have an upstream of their own", n)
	}
	opened := w.counters().UpstreamsOpened
	c.want(ok, "MULTI")
	c.want(ok, "DISCARD")
	if got := w.counters().UpstreamsOpened; got != opened {
		t.Errorf("%d upstreams were opened for what the spare could do", got-opened)
	}

	noSpares()
	a.Handle("SELECT", redistest.Error("LOADING Redis is loading the dataset in memory"))
	c.wantPrefix("-MASTERDOWN ", "MULTI")
	eventually(t, "nobody to wait for an upstream of his own", func() bool { return w.own() == 0 })
	a.Handle("SELECT", redistest.OK)
	w.serving(a.Addr())
	c.want(bulk("v"), "GET", "k")
	if n := w.spares(); n != 0 {
		t.Errorf("%d upstreams were opened for nobody", n)
	}
}
