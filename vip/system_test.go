//go:build linux

package vip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"holdfast/config"
	"holdfast/internal/lan"
)

// newTestLink is a link on the interface of a node.
func newTestLink(t *testing.T, h *lan.Host, addresses ...netip.Addr) *link {
	t.Helper()
	var l *link
	err := h.Inside(func() (err error) {
		l, err = newLink(lan.Interface, addresses)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if fault := l.look(); fault != "" {
		t.Fatal(fault)
	}
	return l
}

// An address whose lease nobody refreshes goes by itself.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	for _, addr := range []netip.Addr{address4, address6} {
		t.Run(addr.String(), func(t *testing.T) {
			t.Parallel()
			net := lan.New(t, 1)
			owners := net.Watch(t, addr)
			l := newLease(newTestLink(t, net.Nodes[0], addr), 100*time.Millisecond)
			if err := l.refresh(); err == nil {
				t.Error("a lease that was not taken could be refreshed")
			}
			if err := l.take(); err != nil {
				t.Fatal(err)
			}
			owners.Await(t, "n1")
			for range 3 {
				if err := l.refresh(); err != nil {
					t.Fatal(err)
				}
			}
			owners.Await(t)
			var sleep asleep
			if err := l.refresh(); !errors.As(err, &sleep) || sleep.gap < l.lifetime {
				t.Errorf("refreshing a lease that has ended: %v", err)
			}
			if has, _ := l.link.entries(addr); has {
				t.Error("the refresh brought the address back")
			}
			if s := l.stats(); s.Slept != 1 || s.LatenessMax < 0.9 || !s.Held {
				t.Errorf("statistics: %+v", s)
			}
			if removed, err := l.drop(); err != nil || len(removed) > 0 {
				t.Errorf("dropped %v, %v", removed, err)
			}
		})
	}
}

// The lease of an owner that died at its last advert is over before a backup's
// patience, wherever whole seconds allow it.
func TestLifetime(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond:  time.Second,
		time.Second:             2 * time.Second,
		1500 * time.Millisecond: 3 * time.Second,
		2 * time.Second:         5 * time.Second,
		10 * time.Second:        29 * time.Second,
	} {
		if got := newLease(nil, interval).lifetime; got != want {
			t.Errorf("interval %v: lifetime %v, want %v", interval, got, want)
		} else if interval >= time.Second && got+time.Second > 3*interval {
			t.Errorf("interval %v: lifetime %v is too long", interval, got)
		}
	}
}

// Only what others do to the addresses is worth telling.
func TestLinkReports(t *testing.T) {
	t.Parallel()
	n := lan.New(t, 1).Nodes[0]
	l := newTestLink(t, n, address4)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.put(time.Minute))
	if l.came(address4) {
		t.Error("our own address appeared")
	}
	own, err := l.own(familyOf(address4))
	must(err)
	if !reflect.DeepEqual(own, []netip.Addr{n.Addr}) {
		t.Errorf("own addresses: %v", own)
	}
	removed, err := l.remove()
	must(err)
	if len(removed) != 1 || l.gone(address4) || l.came(address4) {
		t.Errorf("removed %v, and the report of it is news", removed)
	}
	if l.gone(address4) {
		t.Error("what was not there is gone")
	}
	must(n.IP("addr add 10.78.0.100/32 dev eth0"))
	if !l.came(address4) || l.came(address4) {
		t.Error("an address of somebody else is to be told of, once")
	}
	must(n.IP("addr del 10.78.0.100/32 dev eth0"))
	if !l.gone(address4) || l.gone(address4) {
		t.Error("its end is to be told of, once")
	}
	must(n.IP("addr add 10.78.0.100/32 dev eth0", "addr add 10.78.0.100/24 dev eth0"))
	if gone, came, doubled := l.resync(); len(gone) != 0 || len(came) != 1 || len(doubled) != 1 || !l.doubled(address4) {
		t.Errorf("resync: gone %v, came %v, doubled %v", gone, came, doubled)
	}
	removed, err = l.clean()
	must(err)
	if has, others := l.entries(address4); len(removed) != 1 || !has || len(others) > 0 || l.doubled(address4) {
		t.Errorf("cleaned %v, ours is there: %v, others %v", removed, has, others)
	}
	must(n.IP("addr del 10.78.0.100/32 dev eth0"))
	if gone, came, doubled := l.resync(); len(gone) != 1 || len(came) != 0 || len(doubled) != 0 {
		t.Errorf("resync: gone %v, came %v, doubled %v", gone, came, doubled)
	}
	must(n.IP("link del eth0"))
	if fault := l.look(); fault != "interface eth0 does not exist" {
		t.Errorf("fault %q", fault)
	}
}

func TestChooseSource(t *testing.T) {
	a := netip.MustParseAddr
	own4 := []netip.Addr{a("10.78.0.11"), a("10.78.0.12")}
	own6 := []netip.Addr{a("fd00:78::11"), a("fe80::11")}
	for name, c := range map[string]struct {
		vip  config.VIP
		own  []netip.Addr
		want string // or a part of the error
	}{
		"first":             {config.VIP{Addresses: []netip.Addr{address4}}, own4, "10.78.0.11"},
		"configured":        {config.VIP{Addresses: []netip.Addr{address4}, Source: own4[1]}, own4, "10.78.0.12"},
		"configured, gone":  {config.VIP{Addresses: []netip.Addr{address4}, Source: a("10.9.9.9")}, own4, "source 10.9.9.9 is not"},
		"none":              {config.VIP{Addresses: []netip.Addr{address4}}, nil, "has no IPv4 address"},
		"multicast6":        {config.VIP{Addresses: []netip.Addr{address6}}, own6, "fe80::11"},
		"multicast6, none":  {config.VIP{Addresses: []netip.Addr{address6}}, own6[:1], "has no IPv6 link-local address"},
		"unicast6":          {config.VIP{Addresses: []netip.Addr{address6}, Peers: []netip.Addr{a("fd00:78::12")}}, own6, "fd00:78::11"},
		"unicast6, by link": {config.VIP{Addresses: []netip.Addr{address6}, Peers: []netip.Addr{a("fe80::12")}}, own6, "fe80::11"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := chooseSource(c.vip, c.own)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
			} else if got.String() != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
}

// Gratuitous ARP as arping(8) -U and -A send it.
func TestGratuitous(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for op, want := range map[uint16]string{
		arpRequest: "0001080006040001" + "020000000001" + "0a4e0064" + "000000000000" + "0a4e0064",
		arpReply:   "0001080006040002" + "020000000001" + "0a4e0064" + "020000000001" + "0a4e0064",
	} {
		if got := hex.EncodeToString(gratuitous(op, mac, address4)); got != want {
			t.Errorf("operation %d: %s, want %s", op, got, want)
		}
	}
}

// Announcements as others decode them.
func TestAnnouncements(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 1)
	capture := l.Client.Capture(t, "arp or icmp6")
	for _, v := range []config.VIP{fastMulticast.vip(l, 100), fastSix.vip(l, 100)} {
		link := newTestLink(t, l.Nodes[0], v.Addresses...)
		err := l.Nodes[0].Inside(link.announce)
		if err != nil {
			t.Fatal(err)
		}
	}
	capture.Await(t, "Request who-has 10.78.0.100 tell 10.78.0.100")
	capture.Await(t, "Reply 10.78.0.100 is-at")
	capture.Await(t, "[icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is fd00:78::100, Flags [override]")
	capture.Await(t, "neighbor advertisement, length 32, tgt is fe80::100, Flags [override]")
}

// A peer that does not answer ARP, or an interface that has stopped sending, fills
// the queue of the socket. That has to be an error and not a wait, for the next that
// the router has to do may be to remove the addresses.
func TestSendNeverWaits(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{fastUnicast, fastSixUni} {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			l := lan.New(t, 1)
			v := w.vip(l, 100)
			v.Peers = append(v.Peers, v.Addresses...) // nobody has it
			link := newTestLink(t, l.Nodes[0], v.Addresses...)
			own, err := link.own(familyOf(v.Addresses[0]))
			if err != nil {
				t.Fatal(err)
			}
			var s *socket
			err = l.Nodes[0].Inside(func() (err error) {
				s, err = openSocket(v, link.index, own)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if err := s.conn.(*net.IPConn).SetWriteBuffer(1); err != nil { // the kernel makes it its least
				t.Fatal(err)
			}
			a := advert{version: 3, routerID: 51, priority: 100, interval: w.advert, addresses: v.Addresses}
			for range 100 {
				if err = s.send(a); err != nil {
					break
				}
			}
			if !errors.Is(err, unix.ENOBUFS) {
				t.Errorf("100 adverts to a peer that is not there, with room for a few: %v", err)
			}
		})
	}
}

// Whatever an alarm says, it is logged once a minute: a rival chooses what it says.
func TestAlarmsAreLoggedSeldom(t *testing.T) {
	log := &bytes.Buffer{}
	r := &router{log: zerolog.New(log)}
	for priority := range 200 {
		for _, name := range []string{twoOwners, duplicate255} {
			if err := r.act(action{kind: alarm, alarm: name, why: fmt.Sprint("a rival has priority ", priority)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("two alarms led to %d lines", lines)
	}
}
