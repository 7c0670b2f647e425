//go:build linux

package vip

import (
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/config"
	"holdfast/internal/lan"
)

// What stands in the way is said without touching anything, not even the addresses
// of an owner that runs.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vip  func(*config.VIP)
		caps []uintptr
		says string
		not  string
	}{
		"fine":          {func(*config.VIP) {}, []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, "checked: <nil>", "missing"},
		"no interface":  {func(v *config.VIP) { v.Interface = "eth7" }, []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, "vip redis: interface eth7 does not exist; there are lo, eth0", "missing"},
		"no source":     {func(v *config.VIP) { v.Source = netip.MustParseAddr("10.9.9.9") }, []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, "vip redis: source 10.9.9.9 is not an address of interface eth0", "missing"},
		"no capability": {func(*config.VIP) {}, nil, "CAP_NET_ADMIN is missing", "vip redis"},
		"raw only":      {func(*config.VIP) {}, []uintptr{unix.CAP_NET_RAW}, "CAP_NET_ADMIN is missing", "CAP_NET_RAW is missing"},
		"admin only":    {func(*config.VIP) {}, []uintptr{unix.CAP_NET_ADMIN}, "CAP_NET_RAW is missing", "CAP_NET_ADMIN is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lan.New(t, 1)
			v := fastMulticast.vip(l, 100)
			owners := l.Watch(t, address4)
			if err := l.Nodes[0].IP("addr add 10.78.0.100/32 dev eth0"); err != nil {
				t.Fatal(err)
			}
			owners.Await(t, "n1")
			c.vip(&v)
			n := launch(t, l.Nodes[0], orders{Check: true, user: &syscall.SysProcAttr{
				Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: c.caps,
			}}, v)
			n.Await(t, "checked: ")
			n.Await(t, c.says)
			n.Quiet(t, c.not)
			if now := owners.Now(); len(now) != 1 {
				t.Errorf("the address is on %v", now)
			}
		})
	}
}
