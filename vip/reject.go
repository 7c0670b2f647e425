package vip

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/config"
)

// reason is why an advertisement was not accepted; Stats counts by it. Whatever
// it is, as long as it lasts this node and the sender do not hear each other and
// both own the addresses.
type reason string

const (
	badLength      reason = "length"
	badVersion     reason = "version"
	badType        reason = "type"
	badChecksum    reason = "checksum"
	badTTL         reason = "ttl"
	badSource      reason = "source"
	badDestination reason = "destination" // multicast where unicast is configured, or the reverse
	badPassword    reason = "password"
	badInterval    reason = "interval"
	badAddresses   reason = "addresses"

	// Nobody's fault: neither to be logged nor to be counted as rejected.
	notRouter reason = "router_id" // of another instance on the same link
	notOther  reason = "own"       // our own multicast, come back
)

// rejections are the reasons that count.
var rejections = []reason{
	badLength, badVersion, badType, badChecksum, badTTL, badSource, badDestination, badPassword, badInterval, badAddresses,
}

// rejection is why one advertisement was not accepted.
type rejection struct {
	reason reason
	text   string // for operators, about the advert: what it says, what is expected
}

func reject(why reason, format string, args ...any) *rejection {
	return &rejection{why, fmt.Sprintf(format, args...)}
}

// fault says whether somebody has to mend something.
func (r *rejection) fault() bool { return r.reason != notRouter && r.reason != notOther }

// filter is what one instance accepts. It is not changed; any goroutine may use
// it.
type filter struct {
	vip    config.VIP
	source netip.Addr   // adverts of ours come from it
	peers  []netip.Addr // without our own; of multicast, none
}

// newFilter is for an instance that sends from source, to peers (of which its own
// address is none) or, where none are configured, to the group.
func newFilter(v config.VIP, source netip.Addr, peers []netip.Addr) *filter {
	return &filter{v, source.WithZone(""), peers}
}

// accept is what d says, or why that is not accepted. The order is such that the
// reason given is the one to mend first.
func (f *filter) accept(d datagram) (advert, *rejection) {
	d.from, d.to = d.from.WithZone("").Unmap(), d.to.WithZone("").Unmap()
	if d.from == f.source {
		return advert{}, reject(notOther, "is our own")
	}
	if len(d.data) > 1 && int(d.data[1]) != f.vip.RouterID {
		return advert{}, reject(notRouter, "is of router_id %d", d.data[1])
	}
	if r := f.route(d); r != nil {
		return advert{}, r
	}
	if len(d.data) > 0 && int(d.data[0]>>4) != f.vip.Version {
		return advert{}, reject(badVersion, "is of version %d, and this instance is of version %d", d.data[0]>>4, f.vip.Version)
	}
	a, r := decode(d)
	if r == nil {
		r = f.compare(a)
	}
	if r != nil {
		return advert{}, r
	}
	return a, nil
}

// route judges the way that d has come. The TTL of unicast is not judged, because
// peers may be routed; there the source is.
func (f *filter) route(d datagram) *rejection {
	multicast := len(f.vip.Peers) == 0
	switch {
	case multicast && !d.to.IsMulticast():
		return reject(badDestination, "was sent to %v, and this instance has no peers, which means multicast", d.to)
	case !multicast && d.to.IsMulticast():
		return reject(badDestination, "was sent by multicast, and this instance has peers, which means unicast")
	case !multicast && !slices.Contains(f.peers, d.from):
		return reject(badSource, "comes from %v, which is none of the peers", d.from)
	case multicast && d.from.Is6() && !d.from.IsLinkLocalUnicast():
		return reject(badSource, "comes from %v, which is not a link-local address", d.from)
	case multicast && d.ttl != hops:
		return reject(badTTL, "has a TTL of %d instead of %d: it does not come from this link", d.ttl, hops)
	}
	return nil
}

// compare judges whether a's sender is configured as this instance is.
func (f *filter) compare(a advert) *rejection {
	own := time.Duration(f.vip.AdvertInterval)
	switch password := string(f.vip.Password); {
	case a.password == password:
	case a.password == "":
		return reject(badPassword, "has no password, and this instance has one")
	case password == "":
		return reject(badPassword, "has a password, and this instance has none")
	default:
		return reject(badPassword, "has another password than this instance")
	}
	if a.version == 2 && a.interval != own {
		return reject(badInterval, "says that the advert_interval is %v, and of this instance it is %v", a.interval, own)
	}
	if a.interval == 0 {
		return reject(badInterval, "says that the advert_interval is 0")
	}
	for _, addr := range f.vip.Addresses {
		if !slices.Contains(a.addresses, addr) {
			return reject(badAddresses, "does not have %v among its %d addresses", addr, len(a.addresses))
		}
	}
	if len(a.addresses) != len(f.vip.Addresses) {
		return reject(badAddresses, "has %d addresses, and this instance has %d", len(a.addresses), len(f.vip.Addresses))
	}
	return nil
}
