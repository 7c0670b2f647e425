package vip

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"holdfast/config"
)

// protocol is VRRP's number in the IP header.
const protocol = 112

// Where multicast adverts go, and the TTL or hop limit that proves that they
// come from the same link (RFC 9568 5.1.1 and 5.1.2).
var (
	group4 = netip.MustParseAddr("224.0.0.18")
	group6 = netip.MustParseAddr("ff02::12")
)

const hops = 255

// datagram is one IP packet of VRRP's protocol as it came.
type datagram struct {
	from, to netip.Addr
	ttl      int    // or hop limit
	data     []byte // without the IP header
}

// advert is what one VRRP advertisement says.
type advert struct {
	version   int // 2 or 3
	routerID  int
	priority  int
	interval  time.Duration // whole seconds in version 2, hundredths of one in version 3
	addresses []netip.Addr
	password  string // version 2: at most 8 bytes of simple text; "": no authentication
	form      form   // of a received one
}

// form is what a received checksum covers.
type form string

const (
	overMessage form = "message"          // version 2; version 3 over IPv4 after RFC 9568
	overPseudo  form = "pseudo-header"    // version 3
	overGroup   form = "multicast header" // version 3, unicast, keepalived before 1.3.7: as if it went to 224.0.0.18
)

// The parts of a message. The header is followed by the addresses, and they in
// version 2 by the password, which takes its place even if there is none.
const (
	headerLength   = 8
	passwordLength = 8
	advertisement  = 1 // the only type there is

	authNone   = 0
	authSimple = 1 // RFC 2338; reserved since RFC 3768
)

// centisecond is the unit of version 3's interval, of which 12 bits hold 4095.
const (
	centisecond  = 10 * time.Millisecond
	intervalBits = 0x0fff
)

// encode is a as bytes for an IP packet between the two addresses. They and sum
// matter to the checksum of version 3 alone.
func (a advert) encode(sum config.Checksum, from, to netip.Addr) []byte {
	b := make([]byte, headerLength, headerLength+16*len(a.addresses)+passwordLength)
	b[0] = byte(a.version<<4 | advertisement)
	b[1], b[2], b[3] = byte(a.routerID), byte(a.priority), byte(len(a.addresses))
	for _, addr := range a.addresses {
		b = append(b, addr.AsSlice()...)
	}
	if a.version == 2 {
		if a.password != "" {
			b[4] = authSimple
		}
		b[5] = byte(a.interval / time.Second)
		b = append(b, make([]byte, passwordLength)...)
		copy(b[len(b)-passwordLength:], a.password)
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(a.interval/centisecond)&intervalBits)
	}
	over := uint32(0)
	if a.version == 3 && (from.Is6() || sum == config.Pseudo) {
		over = pseudoHeader(from, to, len(b))
	}
	binary.BigEndian.PutUint16(b[6:], ^fold(over+total(b)))
	return b
}

// decode reads d, whichever instance it is for. It believes nothing before the
// length and the checksum are right.
func decode(d datagram) (advert, *rejection) {
	b := d.data
	if len(b) < headerLength {
		return advert{}, reject(badLength, "has %d bytes, and the shortest advert has %d", len(b), headerLength)
	}
	a := advert{version: int(b[0] >> 4), routerID: int(b[1]), priority: int(b[2])}
	if a.version != 2 && a.version != 3 || a.version == 2 && d.from.Is6() {
		return advert{}, reject(badVersion, "is of version %d", a.version)
	}
	if kind := b[0] & 0x0f; kind != advertisement {
		return advert{}, reject(badType, "is of type %d, and only type %d is known", kind, advertisement)
	}
	size := d.from.BitLen() / 8
	end := headerLength + int(b[3])*size
	whole := end
	if a.version == 2 {
		whole += passwordLength
	}
	if len(b) != whole {
		return advert{}, reject(badLength, "has %d bytes, and with %d addresses it should have %d", len(b), b[3], whole)
	}
	if a.form = formOf(d, a.version); a.form == "" {
		return advert{}, reject(badChecksum, "has a checksum of %#04x that fits no form of version %d", binary.BigEndian.Uint16(b[6:]), a.version)
	}
	for at := headerLength; at < end; at += size {
		addr, _ := netip.AddrFromSlice(b[at : at+size])
		a.addresses = append(a.addresses, addr)
	}
	if a.version == 3 {
		a.interval = time.Duration(binary.BigEndian.Uint16(b[4:])&intervalBits) * centisecond
		return a, nil
	}
	a.interval = time.Duration(b[5]) * time.Second
	if auth := b[4]; auth > authSimple {
		return advert{}, reject(badPassword, "has authentication of type %d; known are none and a simple password", auth)
	} else if auth == authSimple {
		a.password = string(bytes.TrimRight(b[end:], "\x00"))
		if a.password == "" {
			return advert{}, reject(badPassword, "has an empty password")
		}
	}
	return a, nil
}

// formOf is the form in which the checksum of d is right; "" for none.
func formOf(d datagram, version int) form {
	sum, length := total(d.data), len(d.data)
	right := func(over uint32) bool { return fold(over+sum) == 0xffff }
	switch {
	case version == 3 && right(pseudoHeader(d.from, d.to, length)):
		return overPseudo
	case d.from.Is4() && right(0):
		return overMessage
	case version == 3 && d.from.Is4() && right(pseudoHeader(d.from, group4, length)):
		return overGroup
	}
	return ""
}

// pseudoHeader is the sum of what TCP, too, puts before the message in thought
// (RFC 8200 8.1, RFC 9293 3.1): addresses, protocol and length.
func pseudoHeader(from, to netip.Addr, length int) uint32 {
	return total(from.AsSlice()) + total(to.AsSlice()) + protocol + uint32(length)
}

// total is the sum of b's 16-bit words (RFC 1071), not folded: a message is far
// too short for it to overflow.
func total(b []byte) (sum uint32) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
