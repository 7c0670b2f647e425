//go:build linux

package vip

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/config"
	"holdfast/internal/lan"
)

// Whatever two configurations disagree in ends as two owners; ours has to say
// what it is.
func TestMismatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wire   wire
		change func(*config.VIP, *lan.Keepalived)
		reason reason // "": it is the other that rejects
	}{
		"version":  {fastMulticast, func(_ *config.VIP, k *lan.Keepalived) { k.Version, k.Advert = 2, time.Second }, badVersion},
		"password": {slowMulticast, func(_ *config.VIP, k *lan.Keepalived) { k.Password = "another" }, badPassword},
		"interval": {slowMulticast, func(v *config.VIP, _ *lan.Keepalived) { v.AdvertInterval = config.Duration(2 * time.Second) }, badInterval},
		"addresses": {fastMulticast, func(_ *config.VIP, k *lan.Keepalived) {
			k.Addresses = append(k.Addresses, netip.MustParseAddr("10.78.0.101"))
		}, badAddresses},
		"destination": {fastUnicast, func(v *config.VIP, _ *lan.Keepalived) { v.Peers = nil }, badDestination},
		"source": {fastUnicast, func(v *config.VIP, _ *lan.Keepalived) {
			v.Peers = []netip.Addr{netip.MustParseAddr("10.78.0.99")}
		}, badSource},
		"checksum": {fastMulticast, func(v *config.VIP, _ *lan.Keepalived) { v.Checksum = config.Plain }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.wire.advert >= time.Second {
				long(t)
			}
			l := lan.New(t, 2)
			lan.Need(t, "keepalived")
			v, k := c.wire.vip(l, 200), c.wire.keepalived(l, l.Nodes[1], 100)
			c.change(&v, &k)
			n := run(t, l.Nodes[0], orders{}, v)
			owners := l.Watch(t, address4)
			owners.Await(t, "n1")
			l.Nodes[1].Keepalived(t, k)
			owners.Await(t, "n1", "n2")
			if c.reason == "" {
				n.until(t, "the alarm", func(s Stats) bool { return s.Alarms[twoOwners] > 0 })
				n.Await(t, "or rejects what it hears")
				return
			}
			n.until(t, "the rejection", func(s Stats) bool { return s.Rejected[string(c.reason)] > 0 })
			n.Await(t, fmt.Sprintf(`"reason":"%s"`, c.reason))
		})
	}
}

// Anybody on the link can send what they like; it is counted, and the adverts go
// out all the same.
func TestFlood(t *testing.T) {
	s := play(t, middle, ours, ours)
	begun := time.Now()
	const packets = 20000
	if err := s.Client.Inside(func() error { return flood(packets) }); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		n.until(t, "rejections", func(st Stats) bool { return st.Rejected[string(badChecksum)] > 0 })
	}
	if m := s.owners.Moves(begun); m > 0 {
		t.Errorf("the address moved %d times", m)
	}
}

// flood sends adverts of the right router with a wrong checksum to the group.
func flood(packets int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.BindToDevice(fd, lan.Interface); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, hops); err != nil {
		return err
	}
	data := advert{version: 3, routerID: 51, priority: 250, interval: 100 * time.Millisecond, addresses: []netip.Addr{address4}}.
		encode(config.Pseudo, netip.MustParseAddr("10.78.0.200"), group4)
	data[6] ^= 0xff
	for range packets {
		if err := unix.Sendto(fd, data, 0, &unix.SockaddrInet4{Addr: group4.As4()}); err != nil {
			return err
		}
	}
	return nil
}

// Two instances on two nodes, each of which is the other's backup.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 2)
	second := netip.MustParseAddr("10.78.0.101")
	one, two := l.Watch(t, address4), l.Watch(t, second)
	var nodes []*member
	for i, h := range l.Nodes {
		a, b := fastMulticast.vip(l, 200-100*i), fastMulticast.vip(l, 100+100*i)
		b.Name, b.RouterID, b.Addresses = "other", 52, []netip.Addr{second}
		nodes = append(nodes, run(t, h, orders{}, a, b))
	}
	one.Await(t, "n1")
	two.Await(t, "n2")
	nodes[0].Stop(t)
	one.Await(t, "n2")
	two.Await(t, "n2")
	if s := nodes[1].stats(t); sum(s.Rejected) > 0 {
		t.Errorf("each rejects the other's: %v", s.Rejected)
	}
}

// What is missing is said at the start, with how to grant it; and no more than two
// capabilities are needed.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		caps []uintptr
		says []string
		not  string
	}{
		"none":  {nil, []string{"CAP_NET_RAW is missing", "CAP_NET_ADMIN is missing", "AmbientCapabilities="}, "adverts are sent"},
		"raw":   {[]uintptr{unix.CAP_NET_RAW}, []string{"CAP_NET_ADMIN is missing", "setcap"}, "CAP_NET_RAW is missing"},
		"admin": {[]uintptr{unix.CAP_NET_ADMIN}, []string{"CAP_NET_RAW is missing", "--cap-add"}, "CAP_NET_ADMIN is missing"},
		"both":  {[]uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, []string{"adverts are sent"}, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lan.New(t, 1)
			owners := l.Watch(t, address4)
			n := launch(t, l.Nodes[0], orders{user: &syscall.SysProcAttr{
				Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: c.caps,
			}}, fastMulticast.vip(l, 100))
			for _, text := range c.says {
				n.Await(t, text)
			}
			n.Quiet(t, c.not)
			if len(c.caps) == 2 {
				owners.Await(t, "n1")
				n.Stop(t)
				owners.Await(t)
			}
		})
	}
}

// An interface that is not there is a mistake in the configuration.
func TestNoInterface(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 1)
	v := fastMulticast.vip(l, 100)
	v.Interface = "eth7"
	n := launch(t, l.Nodes[0], orders{}, v)
	n.Await(t, "vip redis: interface eth7 does not exist; there are lo, eth0")
}

// The operator's commands learn of each state, and why.
func TestNotifyCommands(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 1)
	v := fastMulticast.vip(l, 100)
	v.NotifyBackup = config.Command{"sh", "-c", "echo told: $HOLDFAST_VIP_STATE; exit 3"}
	v.NotifyMaster = config.Command{"sh", "-c", "echo told: $HOLDFAST_VIP_STATE $HOLDFAST_VIP_NAME $HOLDFAST_VIP_PRIORITY $HOLDFAST_VIP_INTERFACE $HOLDFAST_VIP_ROUTER_ID $HOLDFAST_VIP_ADDRESSES"}
	v.NotifyFault = config.Command{"sh", "-c", "echo told: $HOLDFAST_VIP_STATE $HOLDFAST_VIP_WHY"}
	v.NotifyStop = config.Command{"sh", "-c", "echo told: $HOLDFAST_VIP_STATE"}
	n := run(t, l.Nodes[0], orders{}, v)
	n.Await(t, `"said":"told: BACKUP"`)
	n.Await(t, "exit status 3")
	n.Await(t, `"said":"told: MASTER redis 100 eth0 51 10.78.0.100"`)
	n.say(t, "unfit on the way out")
	n.Await(t, `"said":"told: FAULT on the way out"`)
	n.Stop(t)
	n.Await(t, `"said":"told: STOP"`)
}
