package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"holdfast/config"
)

// socket sends and receives the adverts of one instance on one interface, for as
// long as the interface can be used. It is bound to no address, for then it would
// receive no multicast: the source is given with each advert.
type socket struct {
	source netip.Addr
	peers  []netip.Addr // without this node's own; none: the group
	to     []netip.Addr // where adverts go
	sum    config.Checksum
	index  int

	conn net.PacketConn
	four *ipv4.PacketConn // one of these two is conn
	six  *ipv6.PacketConn

	in chan datagram // closed by receive, when the socket is closed
}

// internetControl is the type of service of routing protocols (RFC 791).
const internetControl = 0xc0

// queued is how many adverts wait for the router. More wait in the kernel, which
// drops what it has no room for.
const queued = 16

// openSocket is for an interface that is up. own are its addresses.
func openSocket(v config.VIP, index int, own []netip.Addr) (*socket, error) {
	source, err := chooseSource(v, own)
	if err != nil {
		return nil, err
	}
	s := &socket{source: source, sum: v.Checksum, index: index, in: make(chan datagram, queued)}
	for _, p := range v.Peers {
		if p != source && !slices.Contains(own, p) {
			s.peers = append(s.peers, p)
		}
	}
	if len(v.Peers) > 0 && len(s.peers) == 0 {
		return nil, fmt.Errorf("all peers are addresses of this node on %s: there is nobody to send to", v.Interface)
	}
	network, wildcard := "ip4:", "0.0.0.0"
	if source.Is6() {
		network, wildcard = "ip6:", "::"
	}
	lc := net.ListenConfig{Control: bindTo(v.Interface)}
	if s.conn, err = lc.ListenPacket(context.Background(), network+strconv.Itoa(protocol), wildcard); err != nil {
		return nil, fmt.Errorf("socket for protocol %d: %w", protocol, err)
	}
	if source.Is4() {
		err = s.prepare4(len(v.Peers) == 0)
	} else {
		err = s.prepare6(len(v.Peers) == 0)
	}
	if err != nil {
		s.conn.Close()
		return nil, fmt.Errorf("socket for protocol %d on %s: %w", protocol, v.Interface, err)
	}
	go s.receive()
	return s, nil
}

// fits says whether the socket is as one that is opened now would be.
func (s *socket) fits(v config.VIP, index int, own []netip.Addr) bool {
	source, err := chooseSource(v, own)
	return err == nil && source == s.source && index == s.index
}

// bindTo keeps a socket to one interface, in both directions.
func bindTo(name string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), name) }), err)
	}
}

// chooseSource is the address that adverts come from. Those of IPv6 come from the
// link-local address (RFC 9568 5.1.2), except to peers that are elsewhere.
func chooseSource(v config.VIP, own []netip.Addr) (netip.Addr, error) {
	if v.Source.IsValid() {
		if slices.Contains(own, v.Source) {
			return v.Source, nil
		}
		return netip.Addr{}, fmt.Errorf("source %v is not an address of interface %s", v.Source, v.Interface)
	}
	wanted, fits := "IPv4", func(a netip.Addr) bool { return a.Is4() }
	if v.Addresses[0].Is6() {
		if len(v.Peers) == 0 || v.Peers[0].IsLinkLocalUnicast() {
			wanted, fits = "IPv6 link-local", netip.Addr.IsLinkLocalUnicast
		} else {
			wanted, fits = "IPv6", func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() }
		}
	}
	if i := slices.IndexFunc(own, fits); i >= 0 {
		return own[i], nil
	}
	return netip.Addr{}, fmt.Errorf("interface %s has no %s address of its own to send from", v.Interface, wanted)
}

func (s *socket) prepare4(multicast bool) error {
	s.four = ipv4.NewPacketConn(s.conn)
	err := errors.Join(
		s.four.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst, true),
		s.four.SetTTL(hops), s.four.SetTOS(internetControl))
	s.to = s.peers
	if multicast {
		s.to = []netip.Addr{group4}
		ifi := &net.Interface{Index: s.index}
		err = errors.Join(err, s.four.SetMulticastTTL(hops), s.four.SetMulticastLoopback(false),
			s.four.SetMulticastInterface(ifi), s.four.JoinGroup(ifi, ipAddr(group4)))
	}
	return err
}

func (s *socket) prepare6(multicast bool) error {
	s.six = ipv6.NewPacketConn(s.conn)
	err := errors.Join(
		s.six.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true),
		s.six.SetHopLimit(hops), s.six.SetTrafficClass(internetControl))
	s.to = s.peers
	if multicast {
		s.to = []netip.Addr{group6}
		ifi := &net.Interface{Index: s.index}
		err = errors.Join(err, s.six.SetMulticastHopLimit(hops), s.six.SetMulticastLoopback(false),
			s.six.SetMulticastInterface(ifi), s.six.JoinGroup(ifi, ipAddr(group6)))
	}
	return err
}

// send sends an advert to the group or to every peer. It fails if it could not be
// sent to any.
func (s *socket) send(a advert) error {
	var failed error
	sent := 0
	for _, to := range s.to {
		var err error
		data := a.encode(s.sum, s.source, to)
		if s.four != nil {
			_, err = s.four.WriteTo(data, &ipv4.ControlMessage{Src: s.source.AsSlice(), IfIndex: s.index}, ipAddr(to))
		} else {
			_, err = s.six.WriteTo(data, &ipv6.ControlMessage{Src: s.source.AsSlice(), IfIndex: s.index}, ipAddr(to))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("advert from %v to %v: %w", s.source, to, err))
			continue
		}
		sent++
	}
	if sent > 0 {
		return nil
	}
	return failed
}

// receive passes on what comes. It ends when the socket is closed.
func (s *socket) receive() {
	defer close(s.in)
	buffer := make([]byte, 1<<16) // an IP packet has no more
	for {
		var d datagram
		var n int
		var from net.Addr
		var err error
		if s.four != nil {
			var c *ipv4.ControlMessage
			n, c, from, err = s.four.ReadFrom(buffer)
			d.ttl = -1
			if c != nil {
				d.ttl, d.to = c.TTL, unmapped(c.Dst)
			}
		} else {
			var c *ipv6.ControlMessage
			n, c, from, err = s.six.ReadFrom(buffer)
			d.ttl = -1
			if c != nil {
				d.ttl, d.to = c.HopLimit, unmapped(c.Dst)
			}
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if ip, ok := from.(*net.IPAddr); err == nil && ok {
			d.from, d.data = unmapped(ip.IP), slices.Clone(buffer[:n])
			s.in <- d
		}
	}
}

// close ends the socket and receive.
func (s *socket) close() {
	s.conn.Close()
	for range s.in {
	}
}

func ipAddr(a netip.Addr) *net.IPAddr { return &net.IPAddr{IP: a.AsSlice()} }
