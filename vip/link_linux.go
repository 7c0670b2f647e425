package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is the interface of one instance and the instance's addresses on it. It
// is used by one goroutine.
type link struct {
	name      string
	addresses []netip.Addr
	handle    *netlink.Handle
	index     int // 0: the interface is not there
	mac       net.HardwareAddr

	there    map[netip.Addr]bool // on the interface, as far as is known
	removals map[netip.Addr]int  // by us, of which the kernel's report is on its way
}

func newLink(name string, addresses []netip.Addr) (*link, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &link{
		name: name, addresses: addresses, handle: handle,
		there: make(map[netip.Addr]bool), removals: make(map[netip.Addr]int),
	}, nil
}

func (l *link) close() { l.handle.Close() }

// look finds out why the interface cannot be used, "" if it can.
func (l *link) look() (fault string) {
	found, err := l.handle.LinkByName(l.name)
	if err != nil {
		l.index = 0
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return "interface " + l.name + " does not exist"
		}
		return fmt.Sprintf("interface %s: %v", l.name, err)
	}
	at := found.Attrs()
	l.index, l.mac = at.Index, at.HardwareAddr
	switch {
	case at.RawFlags&unix.IFF_UP == 0:
		return "interface " + l.name + " is down"
	case at.RawFlags&unix.IFF_RUNNING == 0:
		return "interface " + l.name + " has no carrier"
	}
	return ""
}

// unusable are the flags of addresses that cannot be sent from, or that should not:
// those of other instances are deprecated.
const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED

// own are the interface's addresses of the family that are its own and ready for
// use, in the kernel's order.
func (l *link) own(family int) ([]netip.Addr, error) {
	list, err := l.handle.AddrList(l.at(), family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("addresses of %s: %w", l.name, err)
	}
	var own []netip.Addr
	for _, a := range list {
		ip := unmapped(a.IP)
		if a.Flags&unusable == 0 && !l.ours(ip) {
			own = append(own, ip)
		}
	}
	return own, nil
}

// put puts the addresses on the interface, or makes those that are there last for
// another lifetime. They are deprecated at once, so that no connection of this
// machine's own begins at one of them. Duplicate address detection would keep an
// IPv6 address back for a second, and the election has settled who has it.
func (l *link) put(lifetime time.Duration) error {
	for _, ip := range l.addresses {
		a := l.address(ip)
		a.ValidLft = int(lifetime / time.Second) // and PreferedLft 0
		if ip.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := l.handle.AddrReplace(nil, a); err != nil {
			return fmt.Errorf("put %v on %s: %w", ip, l.name, err)
		}
		l.there[ip] = true
	}
	return nil
}

// remove takes the addresses away, and returns those that were there, by us or by
// somebody else.
func (l *link) remove() (removed []netip.Addr, err error) {
	removed, err = l.clean()
	for _, ip := range l.addresses {
		was, e := l.delete(l.address(ip))
		if was {
			l.removals[ip]++
			removed = append(removed, ip)
		}
		err = errors.Join(err, e)
		l.there[ip] = false
	}
	return removed, err
}

// clean takes away what stands beside our entries of the addresses. It was made by
// whoever configured them by other means, has no lease, and would outlive us.
func (l *link) clean() (removed []netip.Addr, err error) {
	for _, ip := range l.addresses {
		_, others := l.entries(ip)
		for i := range others {
			was, e := l.delete(&others[i])
			if was {
				removed = append(removed, ip)
			}
			err = errors.Join(err, e)
		}
	}
	return removed, err
}

// delete says whether there was something to delete.
func (l *link) delete(a *netlink.Addr) (was bool, err error) {
	err = l.handle.AddrDel(nil, a)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove %v from %s: %w", a.IPNet, l.name, err)
	}
	return true, nil
}

// entries are those of ip on the interface: whether there is one as we make it, and
// those with another prefix length.
func (l *link) entries(ip netip.Addr) (has bool, others []netlink.Addr) {
	list, _ := l.handle.AddrList(l.at(), familyOf(ip)) // if this fails, so will what is done about them
	for _, a := range list {
		if unmapped(a.IP) != ip {
			continue
		}
		if alone(a.Mask) {
			has = true
		} else {
			a.LinkIndex = l.index
			others = append(others, a)
		}
	}
	return has, others
}

// gone takes the kernel's report that our entry of an address was removed, and says
// whether that was somebody else, or the end of a lease.
func (l *link) gone(ip netip.Addr) bool {
	if l.removals[ip] > 0 {
		l.removals[ip]--
		return false
	}
	was := l.there[ip]
	l.there[ip] = false
	return was
}

// came takes the kernel's report that an entry as ours was added or refreshed, and
// says whether somebody else did it. The report may be of an earlier moment, so the
// interface is asked.
func (l *link) came(ip netip.Addr) bool {
	if l.there[ip] {
		return false // refreshed
	}
	l.there[ip], _ = l.entries(ip)
	return l.there[ip]
}

// doubled takes the report of another entry, and says whether it is still there.
func (l *link) doubled(ip netip.Addr) bool {
	_, others := l.entries(ip)
	return len(others) > 0
}

// resync compares what is known with what is, after reports were lost or on
// another interface, and returns what was not noticed.
func (l *link) resync() (gone, came, doubled []netip.Addr) {
	clear(l.removals)
	for _, ip := range l.addresses {
		has, others := l.entries(ip)
		switch {
		case l.there[ip] && !has:
			gone = append(gone, ip)
		case !l.there[ip] && has:
			came = append(came, ip)
		}
		if len(others) > 0 {
			doubled = append(doubled, ip)
		}
		l.there[ip] = has
	}
	return gone, came, doubled
}

// ours says whether the address is one of the instance's.
func (l *link) ours(ip netip.Addr) bool { return slices.Contains(l.addresses, ip) }

func (l *link) at() netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: l.name, Index: l.index}}
}

// address is ip alone, as /32 or /128. In a wider prefix it would be secondary to
// the node's own address, and be deleted with it.
func (l *link) address(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{
		IPNet:     &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())},
		LinkIndex: l.index,
	}
}

// alone says whether a prefix has no other address in it.
func alone(m net.IPMask) bool {
	ones, bits := m.Size()
	return ones == bits
}

func familyOf(ip netip.Addr) int {
	if ip.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func unmapped(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// interfaceNames is for error messages.
func interfaceNames() string {
	all, err := net.Interfaces()
	if err != nil {
		return "which there are is not known: " + err.Error()
	}
	names := make([]string, len(all))
	for i, ifi := range all {
		names[i] = ifi.Name
	}
	return "there are " + strings.Join(names, ", ")
}
