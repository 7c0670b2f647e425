//go:build linux

package lan

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// LAN is some nodes and a client on one switch.
type LAN struct {
	Nodes  []*Host // n1, n2, ...
	Client *Host

	fabric *Host
}

// New makes a LAN of that many nodes for a test, and takes it away at the test's
// end. Without root the test is skipped. It is skipped, too, where ip is missing or
// root may not make namespaces, but with CI=true in the environment that is a
// failure.
func New(tb testing.TB, nodes int) *LAN {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("SKIPPED, not tested: network namespaces need root")
	}
	Need(tb, "ip", "bridge")
	l := &LAN{}
	tb.Cleanup(l.close)
	err := l.build(nodes)
	if errors.Is(err, errNamespaces) {
		Missing(tb, err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

var errNamespaces = errors.New("network namespaces cannot be made")

// Need skips the test unless these programs are in the PATH; with CI=true in the
// environment it fails the test.
func Need(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Missing(tb, err.Error())
		}
	}
}

// Missing skips the test, or fails it where skipping would hide it for good.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal("cannot run:", what)
	}
	tb.Skip("SKIPPED, not tested:", what)
}

func (l *LAN) build(nodes int) (err error) {
	if l.fabric, err = newHost("switch"); err != nil {
		return fmt.Errorf("%w: %w", errNamespaces, err)
	}
	// Without snooping the switch floods multicast, as most do until they have
	// heard somebody join.
	if err := l.fabric.IP("link add lan type bridge stp_state 0 mcast_snooping 0", "link set lan up"); err != nil {
		return fmt.Errorf("%w: %w", errNamespaces, err)
	}
	for i := 1; i <= nodes; i++ {
		h, err := l.attach(fmt.Sprintf("n%d", i), 10+i)
		if err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, h)
	}
	l.Client, err = l.attach("client", 200)
	return err
}

// attach makes a host and plugs it into the switch.
func (l *LAN) attach(name string, number int) (*Host, error) {
	h, err := newHost(name)
	if err != nil {
		return nil, err
	}
	h.fabric, h.port = l.fabric, "port"+name
	h.Addr = netip.AddrFrom4([4]byte{10, 78, 0, byte(number)})
	h.Addr6 = netip.MustParseAddr(fmt.Sprintf("fd00:78::%d", number))
	for _, scope := range []string{"all", "default"} {
		// The addresses are new and nobody else's: no second of waiting for that.
		if err := h.sysctl("net/ipv6/conf/"+scope+"/accept_dad", "0"); err != nil {
			return h, err
		}
	}
	if err := h.IP("link set lo up"); err != nil {
		return h, err
	}
	return h, h.connect()
}

// connect makes the host's interface.
func (h *Host) connect() error {
	err := h.fabric.IP(
		fmt.Sprintf("link add %s type veth peer name %s netns /proc/%d/fd/%d", h.port, Interface, os.Getpid(), h.ns.Fd()),
		fmt.Sprintf("link set %s master lan up", h.port))
	if err != nil {
		return err
	}
	err = h.IP("link set "+Interface+" up",
		fmt.Sprintf("addr add %s/24 dev %s", h.Addr, Interface),
		fmt.Sprintf("addr add %s/64 dev %s nodad", h.Addr6, Interface))
	if err != nil {
		return err
	}
	return h.awaitLocal()
}

// awaitLocal waits for the link-local address, which comes with the carrier, and
// for the kernel to have made it ready for use.
func (h *Host) awaitLocal() error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(h.ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		found, err := handle.AddrList(nil, netlink.FAMILY_V6)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
		for _, a := range found {
			if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				h.Local = ip
				return nil
			}
		}
		<-tick.C
	}
	return fmt.Errorf("%s has no link-local address", h.Name)
}

func (l *LAN) close() {
	for _, h := range append(l.Nodes, l.Client, l.fabric) {
		if h != nil {
			h.ns.Close()
		}
	}
}
