//go:build linux

package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/lan"
)

var (
	address4 = netip.MustParseAddr("10.78.0.100")
	address6 = netip.MustParseAddr("fd00:78::100")
	local6   = netip.MustParseAddr("fe80::100")
)

// wire is one way to speak VRRP.
type wire struct {
	version int
	advert  time.Duration
	unicast bool
	six     bool
}

// The slow ones are what the guides have, the fast ones save time. At a tenth of a
// second a busy machine may well miss three adverts: where nothing must move there
// is a middle one.
var (
	middle        = wire{version: 3, advert: 500 * time.Millisecond}
	slowMulticast = wire{version: 2, advert: time.Second}
	slowUnicast   = wire{version: 2, advert: time.Second, unicast: true}
	fastMulticast = wire{version: 3, advert: 100 * time.Millisecond}
	fastUnicast   = wire{version: 3, advert: 100 * time.Millisecond, unicast: true}
	fastSix       = wire{version: 3, advert: 100 * time.Millisecond, six: true}
	fastSixUni    = wire{version: 3, advert: 100 * time.Millisecond, six: true, unicast: true}
)

func (w wire) String() string {
	family, cast := "IPv4", "multicast"
	if w.six {
		family = "IPv6"
	}
	if w.unicast {
		cast = "unicast"
	}
	return fmt.Sprintf("v%d-%s-%s-%v", w.version, family, cast, w.advert)
}

// address is where clients go.
func (w wire) address() netip.Addr {
	if w.six {
		return address6
	}
	return address4
}

func (w wire) addresses() []netip.Addr {
	if w.six && !w.unicast {
		return []netip.Addr{local6, address6} // the first is to be link-local
	}
	return []netip.Addr{w.address()}
}

// masterDown is how long a backup of this priority waits.
func (w wire) masterDown(priority int) time.Duration {
	unit := w.advert
	if w.version == 2 {
		unit = time.Second
	}
	return 3*w.advert + time.Duration(256-priority)*unit/256
}

// peers are the unicast addresses of all nodes, this one's too.
func (w wire) peers(l *lan.LAN) (all []netip.Addr) {
	for _, h := range l.Nodes {
		if w.unicast && w.six {
			all = append(all, h.Addr6)
		} else if w.unicast {
			all = append(all, h.Addr)
		}
	}
	return all
}

// vip is an instance of ours.
func (w wire) vip(l *lan.LAN, priority int) config.VIP {
	v := config.VIP{
		Name: "redis", Interface: lan.Interface, Addresses: w.addresses(), RouterID: 51, Priority: priority,
		AdvertInterval: config.Duration(w.advert), Version: w.version, Peers: w.peers(l), Preempt: true, Checksum: config.Pseudo,
	}
	if w.version == 2 {
		v.Password = "secret"
	}
	return v
}

// keepalived is an instance of keepalived.
func (w wire) keepalived(l *lan.LAN, h *lan.Host, priority int) lan.Keepalived {
	k := lan.Keepalived{RouterID: 51, Priority: priority, Advert: w.advert, Version: w.version, Addresses: w.addresses()}
	if w.version == 2 {
		k.Password = "secret"
	}
	if w.unicast {
		k.Source = h.Addr
		if w.six {
			k.Source = h.Addr6
		}
		for _, p := range w.peers(l) {
			if p != k.Source {
				k.Peers = append(k.Peers, p)
			}
		}
	}
	return k
}

// kind of a router.
type maker string

const (
	ours  maker = "holdfast"
	guest maker = "keepalived"
)

// start runs a router of either kind; its statistics are there only for ours.
func (m maker) start(t *testing.T, l *lan.LAN, h *lan.Host, w wire, priority int) (p *lan.Process, n *member) {
	t.Helper()
	if m == guest {
		return h.Keepalived(t, w.keepalived(l, h, priority)), nil
	}
	n = run(t, h, orders{}, w.vip(l, priority))
	return n.Process, n
}
