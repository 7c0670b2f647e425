package proxy

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

func tunnelled(cfg *config.Config) {
	cfg.Listeners[0].Mode, cfg.Listeners[0].TLS = config.Tunnel, config.ServerTLS{}
}

func TestTunnelCarriesRedis(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, tunnelled)
	c := w.dial()
	c.want(pong, "PING")
	c.want(ok, "SET", "k", "v")
	c.send("GET k\r\n*x\r\n")
	c.expect(bulk("v"), "-ERR Protocol error: invalid multibulk length\r\n")
	c.expectEnd()
}

// TestTunnelCarriesAnything: bytes that are no RESP, both ways at once, more than
// any buffer holds.
func TestTunnelCarriesAnything(t *testing.T) {
	node := redistest.NewScriptedNode(t)
	size := 8 << 20
	blob := make([]byte, size)
	rand.Read(blob)
	node.Handle("TAKE", func(c *redistest.Conn, args []string) { c.WriteRaw([]byte(args[1])) })
	w := newWorld(t, node.Addr(), tunnelled)
	c := w.dial()
	var wg sync.WaitGroup
	wg.Go(func() { c.nc.Write(command("TAKE", string(blob))) })
	got := make([]byte, size)
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.nc, got); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if !bytes.Equal(got, blob) {
		t.Error("the bytes are not the same")
	}
	if in, out := w.held(); in > 2<<20 || out > 2<<20 {
		t.Errorf("a tunnel keeps %d and %d bytes", in, out)
	}
}

func TestTunnelPassesOnTheEnds(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, tunnelled)
	c := w.dial()
	c.send(lines("SET k v", "GET k"))
	c.shutWrite()
	c.expect(ok, bulk("v"))
	c.expectEnd()
	d := w.dial()
	d.want(pong, "PING")
	w.do(node, "CLIENT", "KILL", "TYPE", "normal")
	d.expectEnd()
	e := w.dial()
	e.send(line("BLPOP queue 0"))
	w.blocked(node, 1)
	e.close()
	w.blocked(node, 0)
	eventually(t, "all to have ended", func() bool { return w.p.Stats().Clients == 0 })
}

// TestTunnelEndsWithItsMaster: bytes cannot be carried over.
func TestTunnelEndsWithItsMaster(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr, tunnelled)
	c := w.dial()
	c.want(pong, "PING")
	w.move(two.Addr)
	c.expectEnd()
	d := w.dial()
	d.want(ok, "SET", "k", "v")
	if got := w.do(one, "DBSIZE"); got != int64(0) {
		t.Errorf("the old master has %v keys", got)
	}
}

// TestTunnelAcrossAnAbortedFailover: the same master goes on, and so do its
// tunnels; nothing was written in between.
func TestTunnelAcrossAnAbortedFailover(t *testing.T) {
	w, a, _ := twoNodes(t, tunnelled, func(cfg *config.Config) { cfg.Failover.FenceTimeout = config.Duration(patience) })
	hold := make(chan struct{})
	a.Handle("SLOW", func(c *redistest.Conn, args []string) {
		select {
		case <-hold:
		case <-c.Done():
		}
		c.WriteString("OK")
	})
	c := w.dial()
	c.want(pong, "PING")
	c.send(line("SLOW"))
	w.await(a, "SLOW")
	// More than the sockets take while the node reads nothing.
	big := strings.Repeat("v", 24<<20)
	var wg sync.WaitGroup
	wg.Go(func() { c.nc.Write(command("SET", "k", big)) })
	eventually(t, "the socket to be full", func() bool { return w.full() })
	w.fence()
	close(hold)
	c.expect(ok)
	eventually(t, "the socket to have room", func() bool { return !w.full() })
	w.abort()
	wg.Wait()
	c.expect(ok)
	if got := a.Data()["k"]; got != big {
		t.Errorf("%d bytes arrived, not %d", len(got), len(big))
	}
}

// full tells whether some upstream's socket took not all there was.
func (w *world) full() (full bool) {
	w.onLoop(w.p.loops[0], func(l *loop) {
		for _, slot := range l.slots {
			full = full || slot.u != nil && slot.u.full
		}
	})
	return full
}

// TestTunnelWaitsForAMaster: a client that comes while there is none is
// connected when there is, or let go after hold.max_wait.
func TestTunnelWaitsForAMaster(t *testing.T) {
	w, _, b := twoNodes(t, tunnelled, func(cfg *config.Config) {
		cfg.Failover.FenceTimeout = config.Duration(patience)
		cfg.Hold.MaxWait = config.Duration(patience)
	})
	w.fence()
	c := w.knock()
	c.send(line("PING"))
	eventually(t, "a client", func() bool { return w.p.Stats().Clients == 1 })
	w.move(b.Addr())
	if secured { // what it has sent is no handshake
		c.expectEnd()
		return
	}
	c.expect(pong)
}

// knock connects and speaks no TLS: nobody is there yet who would answer it.
func (w *world) knock() *client {
	c := rawTo(w.t, w.addr)
	w.clients = append(w.clients, c)
	return c
}

func TestTunnelWaitsNotForEver(t *testing.T) {
	w, _, _ := twoNodes(t, tunnelled, func(cfg *config.Config) {
		cfg.Failover.FenceTimeout = config.Duration(patience)
		cfg.Hold.MaxWait = config.Duration(50 * time.Millisecond)
	})
	w.fence()
	c := w.knock()
	c.send(line("PING"))
	c.expectEnd()
	if st := w.counters(); st.Closed["tunnel"] != 1 {
		t.Errorf("%+v", st)
	}
}
