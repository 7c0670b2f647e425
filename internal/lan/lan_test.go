//go:build linux

package lan

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Two keepalived hand an address over: everything that watches must see it.
func TestKeepalivedHandsOver(t *testing.T) {
	l := New(t, 2)
	vip := netip.MustParseAddr("10.78.0.100")
	owners, probe := l.Watch(t, vip), l.Probe(t, vip)
	capture := l.Client.Capture(t, "vrrp or arp")
	k := Keepalived{RouterID: 51, Priority: 150, Advert: 100 * time.Millisecond, Version: 3, Addresses: []netip.Addr{vip}}
	first := l.Nodes[0].Keepalived(t, k)
	k.Priority = 100
	l.Nodes[1].Keepalived(t, k)
	for _, n := range l.Nodes {
		n.Serve(t)
	}
	owners.Await(t, "n1")
	probe.Await(t, "n1")
	capture.Await(t, "VRRPv3, Advertisement, vrid 51, prio 150")

	begun := time.Now()
	first.Stop(t)
	owners.Await(t, "n2")
	probe.Await(t, "n2")
	if none := owners.None(begun); none == 0 || none > 5*time.Second {
		t.Errorf("nobody had the address for %v", none)
	}
	if two := owners.Two(begun); two != 0 {
		t.Errorf("two had the address for %v", two)
	}
	if n := owners.Moves(begun); n != 1 {
		t.Errorf("the address moved %d times", n)
	}
	capture.Await(t, "Request who-has 10.78.0.100")
	t.Logf("outage %v, nobody %v", probe.Outage(begun), owners.None(begun))
	if fresh := l.Fresh(t, vip, 5); fresh["n2"] != 5 {
		t.Errorf("fresh clients reached %v", fresh)
	}
}

// Faults must be what they are called.
func TestFaults(t *testing.T) {
	l := New(t, 2)
	n := l.Nodes[0]
	n.Serve(t)
	probe := l.Probe(t, n.Addr)
	probe.Await(t, "n1")
	for _, f := range []struct {
		name       string
		cut, mend  func(testing.TB)
		up, signal bool // what the host itself sees meanwhile: the interface is up, it has a carrier
	}{
		{"partition", n.Partition, n.Heal, true, true},
		{"unplug", n.Unplug, n.Plug, true, false},
		{"down", n.Down, n.Up, false, false},
	} {
		t.Run(f.name, func(t *testing.T) {
			f.cut(t)
			n.awaitFlags(t, f.up, f.signal)
			if fresh := l.Fresh(t, n.Addr, 1); fresh["n1"] != 0 {
				t.Errorf("reached through a broken link: %v", fresh)
			}
			f.mend(t)
			probe.Await(t, "n1")
		})
	}
}

// awaitFlags waits until the host's interface is as said: a carrier that has gone is
// told to it by a thread of the kernel, which takes its time on a busy machine.
func (h *Host) awaitFlags(t *testing.T, up, signal bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		var flags net.Flags
		must(t, h.Inside(func() error {
			ifi, err := net.InterfaceByName(Interface)
			if err == nil {
				flags = ifi.Flags
			}
			return err
		}))
		if (flags&net.FlagUp != 0) == up && (flags&net.FlagRunning != 0) == signal {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("for 10 s not up %v, carrier %v: %v", up, signal, flags)
		}
	}
}

// Nodes that are split do not hear each other, and the client hears both.
func TestSplit(t *testing.T) {
	l := New(t, 2)
	one, two := l.Nodes[0], l.Nodes[1]
	one.Serve(t)
	reaches := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		conn, err := two.Dial(ctx, "tcp", netip.AddrPortFrom(one.Addr, Port).String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	probe := l.Probe(t, one.Addr)
	probe.Await(t, "n1")
	if !reaches() {
		t.Fatal("the nodes do not reach each other")
	}
	l.Split(t)
	if reaches() {
		t.Error("split nodes reach each other")
	}
	probe.Await(t, "n1")
	l.Join(t)
	if !reaches() {
		t.Error("joined nodes do not reach each other")
	}
}

// A held connection ends when the server ends it, and not before.
func TestHold(t *testing.T) {
	l := New(t, 1)
	server := l.Nodes[0].Serve(t)
	held := l.Hold(t, l.Nodes[0].Addr)
	server.End([]netip.Addr{l.Nodes[0].Addr6})
	select {
	case <-held.ended:
		t.Error("the connection ended with those to another address")
	default:
	}
	server.End([]netip.Addr{l.Nodes[0].Addr})
	held.Ended(t)
}
