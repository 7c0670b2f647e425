package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
)

// Host is a network namespace with one address, or, as a nil *Host, the network
// of this process. The namespace has no name: it is held by a descriptor, and
// when this process ends, however that happens, the kernel takes the namespace
// and the links in it away. So there are no leftovers to look for.
type Host struct {
	name string
	addr string // its own IPv4 address; "" for the router
	ns   *os.File
}

// newHost makes an empty namespace.
func newHost(name string) (*Host, error) {
	back, err := leave()
	if err != nil {
		return nil, err
	}
	var ns *os.File
	if err = newNamespace(); err == nil {
		ns, err = os.Open("/proc/thread-self/ns/net")
	}
	if err = errors.Join(err, back()); err != nil {
		return nil, fmt.Errorf("namespace for %s: %w", name, err)
	}
	return &Host{name: name, ns: ns}, nil
}

// leave prepares for a stay in another namespace: it pins the goroutine to its
// thread and remembers the thread's own namespace. back returns there. If that
// fails the thread stays pinned, and so dies with the goroutine: no other
// goroutine ever runs in the wrong network.
func leave() (back func() error, err error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() error {
		defer own.Close()
		if err := enterNamespace(own); err != nil {
			return fmt.Errorf("back to the own network namespace: %w", err)
		}
		runtime.UnlockOSThread()
		return nil
	}, nil
}

// Inside runs f on a thread inside the namespace: sockets that f makes and
// programs that f starts belong to it, for good. f must not start goroutines
// that are to do the same.
func (h *Host) Inside(f func() error) error {
	if h == nil {
		return f()
	}
	back, err := leave()
	if err != nil {
		return err
	}
	if err := enterNamespace(h.ns); err != nil {
		return errors.Join(fmt.Errorf("enter %s: %w", h.name, err), back())
	}
	return errors.Join(f(), back())
}

// Addr is the host's address: 127.0.0.1 for this process' own network.
func (h *Host) Addr() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.addr
}

// String names the host for a log, and its namespace as `nsenter --net=` takes
// it.
func (h *Host) String() string {
	if h == nil {
		return "this host"
	}
	return fmt.Sprintf("%s (/proc/%d/fd/%d)", h.name, os.Getpid(), h.ns.Fd())
}

// DialContext dials from inside the host. addr must hold a literal IP address.
// It fits go-redis' Dialer.
func (h *Host) DialContext(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.Inside(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens inside the host.
func (h *Host) Listen(network, addr string) (l net.Listener, err error) {
	err = h.Inside(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// close lets go of the namespace; it ends with the last program inside it.
func (h *Host) close() {
	if h != nil {
		h.ns.Close()
	}
}
