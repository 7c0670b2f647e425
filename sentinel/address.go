package sentinel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	nameLife  = 5 * time.Second // how long a resolved name is used without asking again
	mostNames = 1024            // names remembered; Sentinels say them, so there must be a limit
)

// book turns what Sentinels announce into addresses to dial: the operator's
// address map first, then resolution. One Sentinel may announce a host name where
// another announces an address, and one event can hold both, so that only
// resolved addresses can be compared. It may be used by several goroutines.
type book struct {
	mapped map[string]string // announced host:port or host -> the same, reachable
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	names map[string]name
}

// name is a resolved host name.
type name struct {
	addr netip.Addr
	at   time.Time // when it was last asked for
}

func newBook(mapped map[string]string, lookup func(context.Context, string) ([]netip.Addr, error)) *book {
	return &book{mapped: mapped, lookup: lookup, names: make(map[string]name)}
}

// systemLookup asks the system's resolver.
func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve is the address to dial for an announced host and port. It may wait for
// DNS until ctx ends, and uses the last answer if there is no new one.
func (b *book) resolve(ctx context.Context, host, port string) (string, error) {
	host, port, err := b.reachable(host, port)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.Unmap().String(), port), nil
	}
	known, ok := b.remembered(host)
	if ok && time.Since(known.at) < nameLife {
		return net.JoinHostPort(known.addr.String(), port), nil
	}
	addrs, err := b.lookup(ctx, host)
	switch {
	case err == nil && len(addrs) > 0:
		known.addr = preferred(addrs)
	case !ok && err == nil:
		return "", fmt.Errorf("resolve %s: no address", host)
	case !ok:
		return "", fmt.Errorf("resolve %s: %w", host, err)
	}
	b.remember(host, name{addr: known.addr, at: time.Now()})
	return net.JoinHostPort(known.addr.String(), port), nil
}

// known is the address to dial as far as that is known already, else "". It never
// waits: events must not stand behind DNS.
func (b *book) known(host, port string) string {
	host, port, err := b.reachable(host, port)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.Unmap().String(), port)
	}
	if n, ok := b.remembered(host); ok {
		return net.JoinHostPort(n.addr.String(), port)
	}
	return ""
}

// reachable applies the address map and checks the form.
func (b *book) reachable(host, port string) (string, string, error) {
	host = strings.Trim(host, "[]")
	if to, ok := b.mapped[net.JoinHostPort(host, port)]; ok {
		if h, p, err := net.SplitHostPort(to); err == nil {
			host, port = h, p
		}
	} else if to, ok := b.mapped[host]; ok {
		host = strings.Trim(to, "[]")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", "", fmt.Errorf("%q is not an address", net.JoinHostPort(host, port))
	}
	return host, port, nil
}

func (b *book) remembered(host string) (name, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.names[host]
	return n, ok
}

func (b *book) remember(host string, n name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.names) >= mostNames {
		clear(b.names)
	}
	b.names[host] = n
}

// preferred is one of several addresses, always the same: IPv4 before IPv6, then
// the lowest.
func preferred(addrs []netip.Addr) netip.Addr {
	return slices.MinFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().Compare(b.Unmap()) }).Unmap()
}
