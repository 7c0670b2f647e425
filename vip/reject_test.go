package vip

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"holdfast/config"
)

// encounter is an instance and a packet that comes to it.
type encounter struct {
	vip    config.VIP
	source netip.Addr
	peers  []netip.Addr
	d      datagram
}

// put changes a byte of a message of version 2, and its checksum.
func (e *encounter) put(at int, value byte) {
	e.d.data[at] = value
	binary.BigEndian.PutUint16(e.d.data[6:], 0)
	binary.BigEndian.PutUint16(e.d.data[6:], ^fold(total(e.d.data)))
}

// Every mismatch ends as two owners, so the reason must be the right one, in words
// that say what to mend.
func TestRejections(t *testing.T) {
	const pass, none, three, unicast, six = "v2-pass", "v2-none", "v3", "v3-unicast", "v3-ipv6"
	for _, c := range []struct {
		packet string
		change func(w *encounter)
		reason reason
		text   string
	}{
		{pass, func(w *encounter) {}, "", ""},
		{none, func(w *encounter) {}, "", ""},
		{three, func(w *encounter) {}, "", ""},
		{unicast, func(w *encounter) {}, "", ""},
		{six, func(w *encounter) {}, "", ""},
		{six, func(w *encounter) { w.d.from = w.d.from.WithZone("eth0") }, "", ""},
		{"v3-old-unicast", func(w *encounter) {}, "", ""},
		{"v3-ipv6-unicast", func(w *encounter) {}, "", ""},

		{none, func(w *encounter) { w.source = w.d.from }, notOther, "is our own"},
		{six, func(w *encounter) { w.source = w.d.from; w.d.from = w.d.from.WithZone("eth0") }, notOther, "is our own"},
		{none, func(w *encounter) { w.vip.RouterID = 52 }, notRouter, "is of router_id 51"},
		{three, func(w *encounter) { w.vip.RouterID = 52; w.vip.Version = 2; w.d.ttl = 1 }, notRouter, "is of router_id 51"},

		{unicast, func(w *encounter) { w.vip.Peers, w.peers = nil, nil }, badDestination, "was sent to 10.77.0.2, and this instance has no peers, which means multicast"},
		{none, func(w *encounter) { w.vip.Peers = ips("10.77.0.1"); w.peers = w.vip.Peers }, badDestination, "was sent by multicast, and this instance has peers, which means unicast"},
		{unicast, func(w *encounter) { w.peers = ips("10.77.0.3") }, badSource, "comes from 10.77.0.1, which is none of the peers"},
		{unicast, func(w *encounter) { w.peers = nil }, badSource, "comes from 10.77.0.1, which is none of the peers"},
		{six, func(w *encounter) { w.d.from = netip.MustParseAddr("2001:db8::1") }, badSource, "comes from 2001:db8::1, which is not a link-local address"},
		{none, func(w *encounter) { w.d.ttl = 64 }, badTTL, "has a TTL of 64 instead of 255: it does not come from this link"},
		{unicast, func(w *encounter) { w.d.ttl = 64 }, "", ""},

		{three, func(w *encounter) { w.vip.Version = 2 }, badVersion, "is of version 3, and this instance is of version 2"},
		{none, func(w *encounter) { w.vip.Version = 3 }, badVersion, "is of version 2, and this instance is of version 3"},
		{none, func(w *encounter) { w.d.data[0] = 0x22 }, badType, "is of type 2, and only type 1 is known"},
		{none, func(w *encounter) { w.d.data = nil }, badLength, "has 0 bytes, and the shortest advert has 8"},
		{none, func(w *encounter) { w.d.data = w.d.data[:7] }, badLength, "has 7 bytes, and the shortest advert has 8"},
		{none, func(w *encounter) { w.d.data = w.d.data[:12] }, badLength, "has 12 bytes, and with 1 addresses it should have 20"},
		{none, func(w *encounter) { w.d.data = append(w.d.data, 0) }, badLength, "has 21 bytes, and with 1 addresses it should have 20"},
		{three, func(w *encounter) { w.d.data[3] = 255 }, badLength, "has 16 bytes, and with 255 addresses it should have 1028"},
		{none, func(w *encounter) { w.d.data[6] ^= 1 }, badChecksum, "has a checksum of 0x7119 that fits no form of version 2"},
		{unicast, func(w *encounter) { w.d.from = netip.MustParseAddr("10.77.0.9"); w.peers = ips("10.77.0.9") }, badChecksum, "has a checksum of 0xe69c that fits no form of version 3"},

		{pass, func(w *encounter) { w.vip.Password = "" }, badPassword, "has a password, and this instance has none"},
		{none, func(w *encounter) { w.vip.Password = "s3cret" }, badPassword, "has no password, and this instance has one"},
		{pass, func(w *encounter) { w.vip.Password = "s3cre" }, badPassword, "has another password than this instance"},
		{none, func(w *encounter) { w.put(4, 2) }, badPassword, "has authentication of type 2; known are none and a simple password"},
		{none, func(w *encounter) { w.put(4, 1) }, badPassword, "has an empty password"},

		{none, func(w *encounter) { w.vip.AdvertInterval *= 2 }, badInterval, "says that the advert_interval is 1s, and of this instance it is 2s"},
		{three, func(w *encounter) { w.vip.AdvertInterval *= 2 }, "", ""},
		{three, func(w *encounter) {
			w.d.data = advert{3, 51, 1, 0, w.vip.Addresses, "", ""}.encode(config.Pseudo, w.d.from, w.d.to)
		}, badInterval, "says that the advert_interval is 0"},

		{pass, func(w *encounter) { w.vip.Addresses = ips("10.77.0.101", "10.77.0.100") }, "", ""},
		{pass, func(w *encounter) { w.vip.Addresses = ips("10.77.0.100") }, badAddresses, "has 2 addresses, and this instance has 1"},
		{pass, func(w *encounter) { w.vip.Addresses = ips("10.77.0.100", "10.77.0.101", "10.77.0.102") }, badAddresses, "does not have 10.77.0.102 among its 2 addresses"},
		{pass, func(w *encounter) { w.vip.Addresses = ips("10.77.0.100", "10.77.0.102") }, badAddresses, "does not have 10.77.0.102 among its 2 addresses"},
		{three, func(w *encounter) {
			w.d.data = advert{3, 51, 1, time.Second, nil, "", ""}.encode(config.Pseudo, w.d.from, w.d.to)
		}, badAddresses, "does not have 10.77.0.100 among its 0 addresses"},
	} {
		d := captured(t)[c.packet]
		a, no := decode(d)
		if no != nil {
			t.Fatal(no.text)
		}
		w := encounter{d: d, source: netip.MustParseAddr("10.77.0.2")}
		w.vip = config.VIP{RouterID: 51, Version: a.version, AdvertInterval: config.Duration(a.interval), Addresses: a.addresses, Password: config.Secret(a.password)}
		if !d.to.IsMulticast() {
			w.vip.Peers = append(w.vip.Peers, d.to, d.from)
			w.peers = append(w.peers, d.from)
		}
		c.change(&w)
		got, no := newFilter(w.vip, w.source, w.peers).accept(w.d)
		switch {
		case c.reason == "" && no != nil:
			t.Errorf("%s is rejected: it %s", c.packet, no.text)
		case c.reason == "" && got.priority != a.priority:
			t.Errorf("%s becomes %+v", c.packet, got)
		case c.reason != "" && no == nil:
			t.Errorf("%s is accepted; want %s: it %s", c.packet, c.reason, c.text)
		case c.reason != "" && (no.reason != c.reason || no.text != c.text):
			t.Errorf("%s is rejected for %s: it %s\nwant %s: it %s", c.packet, no.reason, no.text, c.reason, c.text)
		case c.reason != "" && no.fault() != (c.reason != notOther && c.reason != notRouter):
			t.Errorf("%s: %s is a fault: %v", c.packet, c.reason, no.fault())
		}
	}
}
