package proxy

import (
	"maps"
	"testing"

	"holdfast/internal/redistest"
)

// travelsApart insists that the session of c has been pinned for nothing but why,
// and that it is back on a shared upstream once its run of commands is over.
func (w *world) travelsApart(c *client, why pin) {
	w.t.Helper()
	for range runApart {
		c.want(pong, "PING")
	}
	pins := w.pins()
	if len(pins) != 1 || pins[why.String()] == 0 {
		w.t.Errorf("pins: %v, and not by %q alone", pins, why)
	}
	c.want(pong, "PING")
	if after := w.pins(); !maps.Equal(pins, after) || w.own() != 0 {
		w.t.Errorf("pinned once more: %v, then %v; %d sessions have an upstream of their own", pins, after, w.own())
	}
}

// thirdAlone has a node do the same to a command twice, and answer it the third
// time it comes; that must be on an upstream that no stranger travels on.
func (w *world) thirdAlone(n *redistest.ScriptedNode, twice redistest.Handler, args ...string) (c *client) {
	w.t.Helper()
	third, on := make(chan int, 1), make(chan struct{})
	n.Handle(args[0], redistest.InTurn(twice, twice, func(c *redistest.Conn, _ []string) {
		third <- c.Number()
		select {
		case <-on:
			c.WriteString("OK")
		case <-c.Done():
		}
	}))
	c, stranger := w.dial(), w.dial()
	stranger.want(pong, "PING")
	c.cmd(args...)
	var number int
	select {
	case number = <-third:
	case <-w.ctx.Done():
		w.t.Fatalf("%s did not come a third time", args[0])
	}
	stranger.want(bulk("x"), "ECHO", "x")
	if echo := connsOf(n, "ECHO"); len(echo) != 1 || echo[number] {
		w.t.Errorf("the third %s came on connection %d, and the stranger's command on %v", args[0], number, echo)
	}
	close(on)
	c.expect(ok)
	return c
}

// connsOf are the connections on which a command came.
func connsOf(n *redistest.ScriptedNode, name string) map[int]bool {
	conns := map[int]bool{}
	for _, cmd := range n.Commands() {
		if cmd.Args[0] == name {
			conns[cmd.Conn] = true
		}
	}
	return conns
}

// TestPinRetry: a command that was lost with two upstreams in a row may be what
// ends them. The third one it is given is no stranger's.
func TestPinRetry(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	c := w.thirdAlone(a, redistest.Cut, "GET", "k")
	w.travelsApart(c, pinRetry)
	if st := w.counters(); st.UpstreamsLost != 2 || st.Resent != 2 {
		t.Errorf("%d upstreams were lost and %d commands sent again", st.UpstreamsLost, st.Resent)
	}
}

// TestPinRefused: a script may refuse twice in a row as a replica would. It is run
// again where that ends nobody else's upstream.
func TestPinRefused(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	c := w.thirdAlone(a, redistest.Error("READONLY says the script"), "EVAL", "return redis.error_reply('READONLY says the script')", "0")
	w.travelsApart(c, pinRefused)
}

// TestPinModule: nobody knows what a module's command does to its connection. It
// travels apart, and what comes behind it does not.
func TestPinModule(t *testing.T) {
	onlyShared(t)
	a := redistest.NewScriptedNode(t)
	a.Handle("COMMAND", redistest.Raw(array(
		array(bulk("get"), integer(2), array("+readonly\r\n"), integer(1), integer(1), integer(1)),
		array(bulk("ping"), integer(-1), array("+fast\r\n"), integer(0), integer(0), integer(0)),
		array(bulk("bf.add"), integer(3), array("+write\r\n", "+module\r\n"), integer(1), integer(1), integer(1)),
	)))
	a.Handle("BF.ADD", redistest.Raw(integer(1)))
	w := newWorld(t, a.Addr())
	w.nodes = append(w.nodes, a)
	c, stays := w.dial(), w.dial()
	stays.want(pong, "PING")
	for i := range 3 {
		c.want(integer(1), "BF.ADD", "k", "v")
		c.want("$-1\r\n", "GET", "k")
		if pins := w.pins(); len(pins) != 1 || pins["module"] != uint64(i+1) {
			t.Errorf("pins: %v", pins)
		}
	}
	if apart, shared := connsOf(a, "BF.ADD"), connsOf(a, "GET"); len(apart) != 1 || len(shared) != 1 || maps.Equal(apart, shared) {
		t.Errorf("the module's commands came on %v, others on %v", apart, shared)
	}
	if n := w.own(); n != 0 {
		t.Errorf("%d sessions have an upstream of their own", n)
	}
}
