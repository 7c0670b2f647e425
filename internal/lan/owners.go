//go:build linux

package lan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Owners watches which nodes have an address, by what their kernels tell.
type Owners struct {
	addr netip.Addr

	mu      sync.Mutex
	moves   []move
	changed chan struct{} // closed at the next move
}

// move is one node that got the address or lost it.
type move struct {
	at    time.Time
	node  string
	holds bool
}

// watchBytes is the kernel's room for what it tells and was not read yet: for
// thousands of changes, for there are tests that make them and a busy machine may
// let nobody read meanwhile.
const watchBytes = 16 << 20

// Watch begins to watch an address on all nodes, until the test's end.
func (l *LAN) Watch(tb testing.TB, addr netip.Addr) *Owners {
	tb.Helper()
	o := &Owners{addr: addr, changed: make(chan struct{})}
	done := make(chan struct{})
	var watching sync.WaitGroup
	for _, h := range l.Nodes {
		updates := make(chan netlink.AddrUpdate)
		ns := netns.NsHandle(h.ns.Fd())
		// Not with ListExisting: that sends its question to all other subscribers, too.
		must(tb, netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
			Namespace: &ns, ReceiveBufferSize: watchBytes, ReceiveBufferForceSize: true,
			ErrorCallback: func(err error) { o.failed(tb, done, err) }}))
		watching.Add(1)
		go o.follow(h.Name, updates, &watching)
		if h.has(tb, addr) {
			o.note(h.Name, true)
		}
	}
	tb.Cleanup(func() {
		close(done)
		watching.Wait()
		if tb.Failed() {
			tb.Logf("owners of %v:%v", addr, o.story())
		}
	})
	return o
}

// has says whether the address is on the host now.
func (h *Host) has(tb testing.TB, addr netip.Addr) bool {
	tb.Helper()
	handle, err := netlink.NewHandleAt(netns.NsHandle(h.ns.Fd()), unix.NETLINK_ROUTE)
	must(tb, err)
	defer handle.Close()
	list, err := handle.AddrList(nil, netlink.FAMILY_ALL)
	must(tb, err)
	return slices.ContainsFunc(list, func(a netlink.Addr) bool {
		ip, _ := netip.AddrFromSlice(a.IP)
		return ip.Unmap() == addr
	})
}

// failed is told about errors of a subscription, of which the last is its end.
func (o *Owners) failed(tb testing.TB, done <-chan struct{}, err error) {
	select {
	case <-done:
	default:
		tb.Errorf("watching %v: %v", o.addr, err)
	}
}

// follow notes what one node's kernel tells. It ends with the subscription.
func (o *Owners) follow(node string, updates <-chan netlink.AddrUpdate, watching *sync.WaitGroup) {
	defer watching.Done()
	for u := range updates {
		ip, _ := netip.AddrFromSlice(u.LinkAddress.IP)
		if ip.Unmap() == o.addr {
			o.note(node, u.NewAddr)
		}
	}
}

func (o *Owners) note(node string, holds bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Contains(o.holders(), node) == holds {
		return // a lease that was refreshed
	}
	o.moves = append(o.moves, move{time.Now(), node, holds})
	close(o.changed)
	o.changed = make(chan struct{})
}

// holders are the nodes that have the address now, in order; o.mu is held.
func (o *Owners) holders() (nodes []string) {
	for _, m := range o.moves {
		if m.holds {
			nodes = append(nodes, m.node)
		} else {
			nodes = slices.DeleteFunc(nodes, func(n string) bool { return n == m.node })
		}
	}
	slices.Sort(nodes)
	return nodes
}

// Now are the names of the nodes that have the address.
func (o *Owners) Now() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.holders()
}

// Await waits, for 30 s at most, until exactly these nodes have the address.
func (o *Owners) Await(tb testing.TB, nodes ...string) {
	tb.Helper()
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		now, changed := o.holders(), o.changed
		o.mu.Unlock()
		if slices.Equal(now, nodes) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			tb.Fatalf("%v is on %v, and for 30 s not on %v", o.addr, now, nodes)
		}
	}
}

// Two is for how long two or more nodes had the address since then.
func (o *Owners) Two(since time.Time) time.Duration {
	return o.total(since, func(holders int) bool { return holders > 1 })
}

// None is for how long no node had the address since then.
func (o *Owners) None(since time.Time) time.Duration {
	return o.total(since, func(holders int) bool { return holders == 0 })
}

// Moves is how often the address came to a node since then.
func (o *Owners) Moves(since time.Time) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.moves {
		if m.holds && m.at.After(since) {
			n++
		}
	}
	return n
}

func (o *Owners) total(since time.Time, counts func(holders int) bool) (sum time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	holders, from := 0, since
	until := func(at time.Time) {
		if at.After(from) {
			if counts(holders) {
				sum += at.Sub(from)
			}
			from = at
		}
	}
	for _, m := range o.moves {
		until(m.at)
		if m.holds {
			holders++
		} else {
			holders--
		}
	}
	until(time.Now())
	return sum
}

// story is every move, for the log of a failed test.
func (o *Owners) story() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, m := range o.moves {
		verb := "lost by"
		if m.holds {
			verb = "came to"
		}
		fmt.Fprintf(&b, "\n  %s %s %s", m.at.Format("15:04:05.000"), verb, m.node)
	}
	return b.String()
}
