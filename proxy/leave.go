package proxy

import (
	"net/netip"
	"slices"
)

// Leave ends the clients that are connected to one of these addresses of this
// machine, because the addresses are about to go: a client that only listens
// would otherwise never notice. It returns when all loops have done so, which
// takes a round of each, and may be called from any goroutine.
func (p *Proxy) Leave(addrs []netip.Addr) {
	for _, l := range p.loops {
		left := make(chan struct{})
		if l.post(func(l *loop) { l.leaveAddresses(addrs); close(left) }) {
			<-left
		}
	}
}

func (l *loop) leaveAddresses(addrs []netip.Addr) {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && slices.Contains(addrs, localAddress(fd)) {
			l.close(s, cutAddress)
		}
	}
}
