package proxy

import (
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

func TestMaxClients(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) { cfg.Limits.MaxClients = 2 })
	a, b := w.dial(), w.dial()
	a.want(pong, "PING")
	b.want(pong, "PING")
	c := rawTo(t, w.addr)
	if !secured { // else it has not agreed on a key to be told with
		c.expect("-ERR max number of clients reached\r\n")
	}
	c.expectEnd()
	if st := w.p.Stats(); st.TurnedAway != 1 || st.Clients != 2 {
		t.Errorf("%+v", st)
	}
	a.close()
	eventually(t, "a place", func() bool { return w.p.Stats().Clients == 1 })
	w.dial().want(pong, "PING")
}

func TestHoldOfNothingAnswersAtOnce(t *testing.T) {
	w, _, b := twoNodes(t, func(cfg *config.Config) {
		cfg.Hold.MaxWait = 0
		cfg.Failover.FenceTimeout = config.Duration(patience)
	})
	c := w.dial()
	c.want(ok, "SET", "k", "1")
	w.fence()
	eventually(t, "the upstream to be left", func() bool { return w.p.Stats().Upstreams == 0 })
	for range 3 {
		c.wantPrefix("-MASTERDOWN ", "SET", "k", "2")
	}
	w.move(b.Addr())
	c.want(ok, "SET", "k", "3")
}

// TestHeldBytesAreBounded: what all that wait have sent may not be more than
// hold.max_bytes; beyond it they are answered before their time.
func TestHeldBytesAreBounded(t *testing.T) {
	w, a, b := twoNodes(t, func(cfg *config.Config) {
		cfg.Hold.MaxWait, cfg.Hold.MaxBytes = config.Duration(10*patience), 200<<10
		cfg.Failover.FenceTimeout = config.Duration(patience)
		cfg.Listeners[0].Mode = config.Dedicated // they are all to be refused at the same time
	})
	refuse := make(chan struct{})
	a.Handle("SET", func(c *redistest.Conn, args []string) {
		select {
		case <-refuse:
		case <-c.Done():
		}
		c.WriteError("READONLY You can't write against a read only replica.")
	})
	var clients []*client
	for range 10 {
		c := w.dial()
		c.cmd("SET", "k", strings.Repeat("x", 50000))
		w.await(a, "SET")
		clients = append(clients, c)
	}
	w.fence()
	close(refuse)
	answered := 0
	eventually(t, "some to be answered before their time", func() bool { return w.counters().Refused["expired"] > 0 })
	w.move(b.Addr())
	for _, c := range clients {
		if reply := c.read(); strings.HasPrefix(reply, "-MASTERDOWN ") {
			answered++
		} else if reply != ok {
			t.Errorf("answered %q", reply)
		}
	}
	if answered == 0 || answered == len(clients) {
		t.Errorf("%d of %d were answered before their time", answered, len(clients))
	}
}

// TestMillionsInFlight: a client that sends more than the bound before it reads
// is made to wait, and loses nothing.
func TestMillionsInFlight(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const commands = maxInFlight + 1<<18
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	sent := make(chan error, 1)
	go func() {
		chunk := []byte(strings.Repeat("PING\r\n", 1<<12))
		for range commands >> 12 {
			if _, err := c.nc.Write(chunk); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	eventually(t, "the bound", func() bool {
		n := 0
		w.onLoop(w.p.loops[0], func(l *loop) { n = l.books().inFlight })
		return n >= maxInFlight || len(sent) > 0
	})
	got := 0
	for room := make([]byte, 1<<20); got < commands*len(pong); {
		c.nc.SetReadDeadline(time.Now().Add(patience))
		n, err := c.nc.Read(room)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if err := <-sent; err != nil || got != commands*len(pong) {
		t.Errorf("%d bytes came back, %v", got, err)
	}
}

// TestListenerWaitsForItsAddress: it may be another's that is about to go.
func TestListenerWaitsForItsAddress(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	addr := busy.Addr().String()
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) {
		second := cfg.Listeners[0]
		second.Address = addr
		cfg.Listeners = append(cfg.Listeners, second)
	})
	eventually(t, "the fault to be told", func() bool {
		st := w.p.Stats().Listeners[1]
		return !st.Bound && strings.Contains(st.Error, "address already in use") && st.Address == addr
	})
	w.dial().want(pong, "PING")
	busy.Close()
	eventually(t, "the address", func() bool {
		st := w.p.Stats().Listeners[1]
		return st.Bound && st.Error == ""
	})
	c := dialTo(t, addr)
	w.clients = append(w.clients, c)
	c.want(pong, "PING")
	if st := w.p.Stats(); st.Listeners[1].Clients != 1 || st.Clients != 2 {
		t.Errorf("%+v", st)
	}
}

// TestRESP3FramesPassAsTheyAre: all types, attributes, pushes between replies.
func TestRESP3FramesPassAsTheyAre(t *testing.T) {
	w, a, b := twoNodes(t)
	frames := []string{
		"(3492890328409238509324850943850943825024385\r\n", ",1.23\r\n", ",inf\r\n", "#t\r\n", "#f\r\n", "_\r\n", "!3\r\nERR\r\n",
		"=7\r\ntxt:abc\r\n", "~2\r\n:1\r\n:2\r\n", "%1\r\n+k\r\n*1\r\n+v\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "%0\r\n",
		"|1\r\n+ttl\r\n:1\r\n$1\r\nx\r\n", "*2\r\n|1\r\n+a\r\n:1\r\n:1\r\n*1\r\n|1\r\n+b\r\n+c\r\n:2\r\n", "|1\r\n+a\r\n" + bulk(strings.Repeat("v", 100000)) + ok,
	}
	pushed := push(bulk("pubsub"), bulk("x"))
	handlers := make([]redistest.Handler, len(frames))
	for i, f := range frames {
		handlers[i] = redistest.Raw(pushed + f + pushed)
	}
	a.Handle("ANY", redistest.InTurn(handlers...))
	c := w.dial()
	c.wantPrefix("%7\r\n", "HELLO", "3")
	c.send(strings.Repeat(line("ANY"), len(frames)))
	for _, f := range frames {
		c.expect(pushed, f, pushed)
	}
	w.move(b.Addr())
	c.want(ok, "SET", "k", "v")
}

// TestLoopsShareTheClients: each client is one loop's own.
func TestLoopsShareTheClients(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) { cfg.Limits.Loops = 4 })
	for range 40 {
		w.dial().want(pong, "PING")
	}
	upstreams := 10
	if mode == config.Shared {
		upstreams = 1
	}
	for i, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			if b := l.books(); b.sessions != 10 || b.upstreams != upstreams {
				t.Errorf("loop %d has %d clients and %d upstreams", i, b.sessions, b.upstreams)
			}
		})
	}
}

// TestWithoutAMasterClientsWait: from the start on there has been none.
func TestWithoutAMasterClientsWait(t *testing.T) {
	node := redistest.NewScriptedNode(t)
	node.Change(func(st *redistest.NodeState) { st.Role = "slave" })
	scripted := redistest.NewScriptedSentinel(t)
	scripted.Change(func(st *redistest.SentinelState) {
		st.Masters[masterName] = &redistest.MasterState{Addr: node.Addr(), Epoch: 1, Quorum: 1}
	})
	w := watch(t, []string{scripted.Addr()}, func(cfg *config.Config) { cfg.Hold.MaxWait = config.Duration(100 * time.Millisecond) })
	c := w.dial()
	got := c.ask("SET", "k", "v")
	if !strings.HasPrefix(got, "-MASTERDOWN no master for \"mymaster\" after waiting 1") {
		t.Errorf("%q", got)
	}
	node.Change(func(st *redistest.NodeState) { st.Role = "master" })
	w.believe("serving", (*sentinel.View).Serving)
	c.want(ok, "SET", "k", "v")
}

// TestOnlySoMuchOfOneClientIsUnderWay where strangers wait behind it, however much
// it sends at once; the rest follows.
func TestOnlySoMuchOfOneClientIsUnderWay(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	gate := w.shut(a, "GET", redistest.Raw(bulk("v")))
	c, stranger := w.dial(), w.dial()
	stranger.want(pong, "PING")
	const asked = 3000 // no more than is read at once
	c.send(strings.Repeat(line("GET k"), asked))
	w.await(a, "GET")
	eventually(t, "all to be received", func() bool { return w.counters().BytesIn >= asked*uint64(len(line("GET k"))) })
	if n := w.counters().InFlight; n != sharedInFlight {
		t.Errorf("%d commands are under way", n)
	}
	stranger.cmd("PING")
	gate.open()
	stranger.expect(pong)
	for range asked {
		c.expect(bulk("v"))
	}
}

// TestLittleIsKeptOfWhoSendsOn: a client goes on sending while its commands are
// answered one by one; what is not under way yet stays in its socket.
func TestLittleIsKeptOfWhoSendsOn(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	next := make(chan struct{})
	t.Cleanup(func() { close(next) })
	a.Handle("GET", func(c *redistest.Conn, _ []string) { <-next; c.WriteBulkString("v") })
	c := w.dial()
	c.send(strings.Repeat(line("GET k"), 2000))
	w.await(a, "GET")
	answered := w.counters().Answered
	for i := range uint64(60) {
		next <- struct{}{}
		eventually(t, "an answer", func() bool { return w.counters().Answered > answered+i })
		c.send(strings.Repeat(line("GET k"), 500))
		w.onLoop(w.p.loops[0], func(*loop) {})
		if in, _ := w.held(); in > 2*sharedRead {
			t.Fatalf("%d bytes are kept", in)
		}
	}
}

// TestHTTPIsEnded as Redis ends it: a page that has a browser send a request here
// is not to have what is in it executed.
func TestHTTPIsEnded(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	body := strings.Repeat("\n", 100_000) + "SET evil 1\r\n"
	for _, say := range []string{
		"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + body,
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + body,
		line("pOsT /") + body,
	} {
		c := w.dial()
		c.send(line("ECHO before"))
		c.expect(bulk("before"))
		c.nc.Write([]byte(say)) // it may be ended in the middle of it
		for c.fill() == nil {
		}
		if strings.Contains(string(c.in), "+OK") {
			t.Errorf("%q: answered %q", cropped(say), cropped(string(c.in)))
		}
	}
	if got := w.do(node, "GET", "evil"); got != nil {
		t.Errorf("the body was executed: %v", got)
	}
	if n := w.counters().Closed["http"]; n != 3 {
		t.Errorf("%d clients were ended for HTTP", n)
	}
}
