package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

// announce tells everybody on the link that the addresses are here, so that they
// forget whose hardware address they had for them.
func (l *link) announce() error {
	if len(l.mac) != 6 {
		return fmt.Errorf("interface %s has no Ethernet address", l.name)
	}
	if l.addresses[0].Is4() {
		return l.announce4()
	}
	return l.announce6()
}

// announce4 sends gratuitous ARP, as a request and as a reply: there are systems
// that learn from one of the two only.
func (l *link) announce4() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // 0: receives nothing
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{
		Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP)), // in network order
		Ifindex:  l.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	for _, ip := range l.addresses {
		for _, op := range []uint16{arpRequest, arpReply} {
			if e := unix.Sendto(fd, gratuitous(op, l.mac, ip), 0, to); e != nil {
				err = errors.Join(err, fmt.Errorf("gratuitous ARP of %v: %w", ip, e))
			}
		}
	}
	return err
}

// Operations of ARP (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// gratuitous is an ARP message with ip as both the sender's and the target's
// protocol address (RFC 5227 2.3, RFC 9568 6.4.1).
func gratuitous(op uint16, mac net.HardwareAddr, ip netip.Addr) []byte {
	target := mac
	if op == arpRequest {
		target = make(net.HardwareAddr, len(mac)) // unknown, as in any request
	}
	b := []byte{0, 1, 8, 0, 6, 4} // Ethernet, IPv4, and the lengths of their addresses
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, target...), ip.AsSlice()...)
}

// announce6 sends unsolicited neighbour advertisements that override (RFC 4861
// 7.2.6). The router flag is not set: hosts do not send through us.
func (l *link) announce6() error {
	conn, _, err := ndp.Listen(&net.Interface{Index: l.index, Name: l.name}, ndp.LinkLocal)
	if err != nil {
		return fmt.Errorf("socket for neighbour advertisements: %w", err)
	}
	defer conn.Close()
	for _, ip := range l.addresses {
		e := conn.WriteTo(&ndp.NeighborAdvertisement{
			Override: true, TargetAddress: ip,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: l.mac}},
		}, nil, netip.IPv6LinkLocalAllNodes())
		if e != nil {
			err = errors.Join(err, fmt.Errorf("neighbour advertisement of %v: %w", ip, e))
		}
	}
	return err
}
