package soak

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/redistest"
	"holdfast/proxy"
	"holdfast/resp"
)

// crooked is a relay with one fault: what it does with a reply on its way.
type crooked struct {
	target string
	ln     net.Listener
	bend   func(l *link, frame []byte) [][]byte // what is given for it, nil: nothing yet
	trade  chan offer
	all    sync.WaitGroup
}

// link is one client's way through the relay.
type link struct {
	of    *crooked
	n     int // replies so far
	held  []byte
	begun time.Time
}

// offer is a reply that waits to be exchanged for another client's.
type offer struct {
	frame []byte
	back  chan []byte
}

func newCrooked(t *testing.T, target string, bend func(*link, []byte) [][]byte) *crooked {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crooked{target: target, ln: ln, bend: bend, trade: make(chan offer)}
	c.all.Go(c.accept)
	t.Cleanup(func() {
		ln.Close()
		c.all.Wait()
	})
	return c
}

// accept ends with its listener.
func (c *crooked) accept() {
	for {
		nc, err := c.ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", c.target)
		if err != nil {
			nc.Close()
			continue
		}
		c.all.Go(func() { forward(up, nc) })
		c.all.Go(func() { c.back(nc, up) })
	}
}

// forward passes requests on as they are; it ends with either side.
func forward(up, client net.Conn) {
	_, _ = io.Copy(up, client)
	_ = up.(*net.TCPConn).CloseWrite() // it may have ended
}

// back passes replies on, bent; it ends with the upstream.
func (c *crooked) back(client, up net.Conn) {
	defer client.Close()
	defer up.Close()
	l := &link{of: c, begun: time.Now()}
	var rep resp.Reply
	var in []byte
	at := 0
	room := make([]byte, 64<<10)
	for {
		n, err := up.Read(room)
		if err != nil {
			return
		}
		in = append(in, room[:n]...)
		for {
			n, done, err := rep.Scan(in[at:])
			if at += n; !done || err != nil {
				break
			}
			for _, f := range c.bend(l, bytes.Clone(in[:at])) {
				if _, err := client.Write(f); err != nil {
					return
				}
			}
			in, at = in[at:], 0
		}
	}
}

// now says whether it is time for the fault.
func (l *link) now() bool {
	l.n++
	return l.n%50 == 0
}

func straight(_ *link, f []byte) [][]byte { return [][]byte{f} }

// exchanges gives one client's reply to another and the other's to this one.
func exchanges(l *link, f []byte) [][]byte {
	if !l.now() {
		return straight(l, f)
	}
	mine := offer{f, make(chan []byte, 1)}
	select {
	case other := <-l.of.trade:
		other.back <- f
		return [][]byte{other.frame}
	case l.of.trade <- mine:
		return [][]byte{<-mine.back}
	case <-time.After(20 * time.Millisecond):
		return straight(l, f)
	}
}

// reorders gives two replies of one client in the wrong order.
func reorders(l *link, f []byte) [][]byte {
	if held := l.held; held != nil {
		l.held = nil
		return [][]byte{f, held}
	}
	if l.now() && f[0] == '$' {
		l.held = f
		return nil
	}
	return straight(l, f)
}

// repeats gives one reply twice.
func repeats(l *link, f []byte) [][]byte {
	if l.now() {
		return [][]byte{f, f}
	}
	return straight(l, f)
}

// damages changes one byte of a large value.
func damages(l *link, f []byte) [][]byte {
	if f[0] == '$' && len(f) > 1000 {
		f[len(f)/2] ^= 1
	}
	return straight(l, f)
}

// swallows gives no answer.
func swallows(l *link, f []byte) [][]byte {
	if l.now() {
		return nil
	}
	return straight(l, f)
}

// lies says OK to who was refused.
func lies(l *link, f []byte) [][]byte {
	if f[0] == '-' && l.now() {
		return [][]byte{[]byte(ok)}
	}
	return straight(l, f)
}

// uncertain is what only a fault excuses.
func uncertain(l *link, f []byte) [][]byte {
	if l.now() {
		return [][]byte{[]byte("-UNCERTAIN it may have been applied\r\n")}
	}
	return straight(l, f)
}

// behindRelay soaks one node through a relay.
func behindRelay(t *testing.T, bend func(*link, []byte) [][]byte, d time.Duration) (*Report, string) {
	c := redistest.New(t, redistest.Options{})
	if err := introduceUsers(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	relay := newCrooked(t, c.Nodes[0].Addr, bend)
	var out bytes.Buffer
	r := newRun(Config{Duration: d, Clients: 12, Seed: 1, Patience: 2 * time.Second, Out: &out}, relay.ln.Addr().String())
	r.clients(t.Context(), func() proxy.Stats { return proxy.Stats{} })
	rep := &Report{}
	r.report(rep)
	return rep, out.String()
}

// TestTheSoakCanFail: a deliberately wrong proxy is found out, whatever it does.
func TestTheSoakCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for name, bend := range map[string]func(*link, []byte) [][]byte{
		"exchanges": exchanges, "reorders": reorders, "repeats": repeats, "damages": damages,
		"swallows": swallows, "lies": lies, "uncertain": uncertain,
	} {
		t.Run(name, func(t *testing.T) {
			rep, told := behindRelay(t, bend, 10*time.Second)
			if rep.OK() {
				t.Fatalf("nothing was noticed in %d commands", rep.Commands)
			}
			if name == "exchanges" && !strings.Contains(told, "FOREIGN") {
				t.Errorf("the foreign reply was not called one: %s", told)
			}
		})
	}
}

// TestTheSoakCanPass: what the clients expect is what Redis answers.
func TestTheSoakCanPass(t *testing.T) {
	rep, told := behindRelay(t, straight, time.Second)
	if !rep.OK() {
		t.Errorf("a relay that changes nothing: %s", told)
	}
	if rep.Commands == 0 {
		t.Error("nothing was done")
	}
}
