package vip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/config"
)

// captured are the packets of testdata/keepalived.hex by name.
func captured(t testing.TB) map[string]datagram {
	text, err := os.ReadFile("testdata/keepalived.hex")
	if err != nil {
		t.Fatal(err)
	}
	packets := make(map[string]datagram)
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		packets[name] = packet(t, b)
	}
	return packets
}

// packet takes the IP header off.
func packet(t testing.TB, b []byte) datagram {
	d := datagram{}
	var next byte
	if b[0]>>4 == 4 {
		next, d.ttl = b[9], int(b[8])
		d.from, d.to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		d.data = b[int(b[0]&15)*4:]
	} else {
		next, d.ttl = b[6], int(b[7])
		d.from, d.to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		d.data = b[40:]
	}
	if next != protocol {
		t.Fatalf("protocol %d", next)
	}
	return d
}

func ips(words ...string) (all []netip.Addr) {
	for _, w := range words {
		all = append(all, netip.MustParseAddr(w))
	}
	return all
}

// What keepalived sends is understood, and what is sent is the same, byte for byte.
func TestKeepalivedPackets(t *testing.T) {
	one, two := ips("10.77.0.100"), ips("10.77.0.100", "10.77.0.101")
	want := map[string]advert{
		"v2-none":         {2, 51, 100, time.Second, one, "", overMessage},
		"v2-pass":         {2, 51, 100, time.Second, two, "s3cret", overMessage},
		"v2-pass-unicast": {2, 51, 254, 2 * time.Second, one, "12345678", overMessage},
		"v3":              {3, 51, 1, 100 * time.Millisecond, two, "", overPseudo},
		"v3-unicast":      {3, 51, 200, time.Second, one, "", overPseudo},
		"v3-old-unicast":  {3, 51, 200, time.Second, one, "", overGroup},
		"v3-ipv6":         {3, 51, 100, time.Second, ips("fe80::100", "2001:db8::100"), "", overPseudo},
		"v3-ipv6-global":  {3, 51, 100, time.Second, ips("2001:db8::100"), "", overPseudo},
		"v3-ipv6-unicast": {3, 51, 100, time.Second, ips("fe80::100"), "", overPseudo},
	}
	packets := captured(t)
	if len(packets) != 2*len(want) {
		t.Errorf("%d packets", len(packets))
	}
	for name, d := range packets {
		first, last := strings.CutSuffix(name, "-resign")
		a := want[first]
		if last {
			a.priority = resigning
		}
		got, no := decode(d)
		if no != nil {
			t.Errorf("%s is rejected: it %s", name, no.text)
			continue
		}
		if !reflect.DeepEqual(got, a) {
			t.Errorf("%s is\n%+v\nwant\n%+v", name, got, a)
		}
		to := d.to
		if a.form == overGroup {
			to = group4
		}
		if b := got.encode(config.Pseudo, d.from, to); !bytes.Equal(b, d.data) {
			t.Errorf("%s is sent as\n%x\nwant\n%x", name, b, d.data)
		}
	}
}

// No bit can be another without being noticed.
func TestEveryBitCounts(t *testing.T) {
	for name, d := range captured(t) {
		for i := range len(d.data) * 8 {
			d.data[i/8] ^= 1 << (i % 8)
			if a, no := decode(d); no == nil {
				t.Errorf("%s with bit %d changed is accepted: %+v", name, i, a)
			}
			d.data[i/8] ^= 1 << (i % 8)
		}
	}
}

// RFC 9568 5.2.8: over IPv4 the message alone counts. It is understood always, and
// sent on demand.
func TestPlainChecksum(t *testing.T) {
	d := captured(t)["v3"]
	a, _ := decode(d)
	d.data = a.encode(config.Plain, d.from, d.to)
	if sum := binary.BigEndian.Uint16(d.data[6:]); fold(total(d.data)) != 0xffff {
		t.Errorf("checksum %#x is not over the message", sum)
	}
	if got, no := decode(d); no != nil || got.form != overMessage {
		t.Errorf("is read as %+v, %+v", got, no)
	}
	d.from = netip.MustParseAddr("10.77.0.9") // is no part of it
	if _, no := decode(d); no != nil {
		t.Errorf("is rejected: it %s", no.text)
	}
	six := captured(t)["v3-ipv6"]
	a, _ = decode(six)
	if b := a.encode(config.Plain, six.from, six.to); !bytes.Equal(b, six.data) {
		t.Error("IPv6 has no plain form")
	}
}

// Reserved bits are sent as zeros and not looked at (RFC 9568 5.2.6).
func TestReservedBits(t *testing.T) {
	d := captured(t)["v3"]
	d.data[4] |= 0xf0
	binary.BigEndian.PutUint16(d.data[6:], 0)
	binary.BigEndian.PutUint16(d.data[6:], ^fold(pseudoHeader(d.from, d.to, len(d.data))+total(d.data)))
	if a, no := decode(d); no != nil || a.interval != 100*time.Millisecond {
		t.Errorf("is read as %+v, %+v", a, no)
	}
}

// The longest interval and the most addresses have room.
func TestExtremes(t *testing.T) {
	from, to := netip.MustParseAddr("fe80::1"), group6
	var many []netip.Addr
	for addr := netip.MustParseAddr("2001:db8::1"); len(many) < 255; addr = addr.Next() {
		many = append(many, addr)
	}
	for _, a := range []advert{
		{3, 255, 255, 4095 * centisecond, many, "", overPseudo},
		{3, 1, 1, centisecond, many[:1], "", overPseudo},
	} {
		if got, no := decode(datagram{from, to, hops, a.encode(config.Pseudo, from, to)}); no != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v is read as %+v, %+v", a, got, no)
		}
	}
	from, to = netip.MustParseAddr("10.0.0.1"), group4
	a := advert{2, 255, 255, 255 * time.Second, ips("10.0.0.100"), "12345678", overMessage}
	if got, no := decode(datagram{from, to, hops, a.encode(config.Pseudo, from, to)}); no != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v is read as %+v, %+v", a, got, no)
	}
}

// Whatever comes is read without harm, and what is accepted says what it would say
// if this node had sent it.
func FuzzDecode(f *testing.F) {
	for _, d := range captured(f) {
		f.Add(d.data, d.from.Is6(), d.to.IsMulticast())
	}
	f.Add([]byte{}, false, true)
	f.Fuzz(func(t *testing.T, data []byte, six, multicast bool) {
		d := datagram{ips("10.77.0.1")[0], ips("10.77.0.2")[0], hops, data}
		group := group4
		if six {
			d.from, d.to, group = ips("fe80::1")[0], ips("fe80::2")[0], group6
		}
		if multicast {
			d.to = group
		}
		a, no := decode(d)
		if no != nil {
			if no.text == "" || no.reason == "" {
				t.Fatal("rejected without a reason")
			}
			return
		}
		sum, to := config.Pseudo, d.to
		switch a.form {
		case overMessage:
			sum = config.Plain
		case overGroup:
			to = group4
		}
		// Once with what has no meaning cleared, the bytes are the same.
		clean := bytes.Clone(data)
		if a.version == 3 {
			clean[4] &= 0x0f
		} else if a.password == "" {
			clear(clean[len(clean)-passwordLength:])
		}
		sent := a.encode(sum, d.from, to)
		clear(clean[6:8])
		clear(sent[6:8])
		if !bytes.Equal(sent, clean) {
			t.Fatalf("%x becomes %x", data, sent)
		}
		f := newFilter(config.VIP{RouterID: a.routerID, Version: a.version, AdvertInterval: config.Duration(a.interval), Addresses: a.addresses, Password: config.Secret(a.password)}, netip.Addr{}, nil)
		if _, no := f.accept(d); no != nil && multicast && a.interval > 0 {
			t.Fatalf("not accepted by an instance that is configured so: it %s", no.text)
		}
	})
}
