//go:build linux

package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Interface is the name of every host's one interface to the switch.
const Interface = "eth0"

// Host is a machine: a network namespace. It has no name in the system and ends
// with the descriptor and the last program inside it.
type Host struct {
	Name  string
	Addr  netip.Addr // IPv4, of the subnet 10.78.0.0/24
	Addr6 netip.Addr // of the subnet fd00:78::/64
	Local netip.Addr // IPv6 link-local

	ns     *os.File
	port   string // at the switch
	fabric *Host  // the switch
}

func newHost(name string) (*Host, error) {
	back, err := leave()
	if err != nil {
		return nil, err
	}
	var ns *os.File
	if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
		ns, err = os.Open("/proc/thread-self/ns/net")
	}
	if err = errors.Join(err, back()); err != nil {
		return nil, fmt.Errorf("namespace for %s: %w", name, err)
	}
	return &Host{Name: name, ns: ns}, nil
}

// leave prepares for a stay in another namespace. If the way back fails the thread
// stays pinned and dies with its goroutine: none ever runs in the wrong network.
func leave() (back func() error, err error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() error {
		defer own.Close()
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("back to the own network namespace: %w", err)
		}
		runtime.UnlockOSThread()
		return nil
	}, nil
}

// Inside runs f on a thread inside the host: sockets that f makes and programs
// that f starts belong to it for good. f must not start goroutines that are to do
// the same.
func (h *Host) Inside(f func() error) error {
	back, err := leave()
	if err != nil {
		return err
	}
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return errors.Join(fmt.Errorf("enter %s: %w", h.Name, err), back())
	}
	return errors.Join(f(), back())
}

// Listen listens inside the host.
func (h *Host) Listen(network, addr string) (l net.Listener, err error) {
	err = h.Inside(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// Dial dials from inside the host. addr must hold a literal IP address.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.Inside(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// IP runs commands of ip(8) inside the host, until one fails.
func (h *Host) IP(commands ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	return h.run(cmd)
}

// sysctl sets a value of the host's own network, such as
// net/ipv6/conf/all/accept_dad.
func (h *Host) sysctl(name, value string) error {
	return h.Inside(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

// run runs a short command inside the host.
func (h *Host) run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := h.Inside(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s in %s: %w: %s", cmd.Path, h.Name, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
