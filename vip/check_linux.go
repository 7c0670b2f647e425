package vip

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast/config"
)

// Check names what New or a router would stumble over on this machine, with the
// capabilities of this process. It changes nothing, so that it can be asked while
// another process runs the routers.
func Check(instances []config.VIP) error {
	if len(instances) == 0 {
		return nil
	}
	faults := permitted(tryRaw(), tryAdmin())
	for _, v := range instances {
		if err := checkLink(v); err != nil {
			faults = errors.Join(faults, fmt.Errorf("vip %s: %w", v.Name, err))
		}
	}
	return faults
}

func checkLink(v config.VIP) error {
	l, err := newLink(v.Interface, v.Addresses)
	if err != nil {
		return err
	}
	defer l.close()
	if fault := l.look(); l.index == 0 {
		return fmt.Errorf("%s; %s", fault, interfaceNames())
	} else if fault != "" {
		return errors.New(fault)
	}
	own, err := l.own(familyOf(v.Addresses[0]))
	if err == nil {
		_, err = chooseSource(v, own)
	}
	return err
}

// tryAdmin tries what CAP_NET_ADMIN is needed for: to remove an address, which
// nobody has (RFC 5737), from an interface that cannot be. Whether one may is what
// the kernel looks at first.
func tryAdmin() error {
	nowhere := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: math.MaxInt32}}
	l := &link{index: math.MaxInt32}
	if err := netlink.AddrDel(nowhere, l.address(netip.AddrFrom4([4]byte{192, 0, 2, 1}))); errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}
