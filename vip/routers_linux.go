package vip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// Routers are all instances of this node.
type Routers struct {
	routers []*router
	watch   watch
}

// New makes ready what is configured. The interfaces must exist, though they may be
// down; addresses of an earlier life are removed from them. It fails, with a line
// that says what to do, when a capability is missing. All faults are reported
// together.
//
// leave is called before addresses go, with those addresses, from several
// goroutines; it must end the clients on them, and return within 200 ms: longer is
// not waited for. It may be nil. The log must not block.
func New(instances []config.VIP, leave func([]netip.Addr), log zerolog.Logger) (*Routers, error) {
	rs := &Routers{}
	var faults error
	for _, v := range instances {
		r, err := newRouter(v, leave, log)
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("vip %s: %w", v.Name, err))
			continue
		}
		rs.routers = append(rs.routers, r)
	}
	if faults != nil {
		for _, r := range rs.routers {
			r.link.close()
		}
		return nil, faults
	}
	rs.watch = watch{routers: rs.routers, log: log}
	return rs, nil
}

// Run takes part in the elections until ctx ends, and then releases what is owned:
// clients are ended, a last advert hands over, and the addresses are removed, all
// within some 200 ms. It returns when the notify commands have ended, too. It is
// called once.
func (rs *Routers) Run(ctx context.Context) {
	if len(rs.routers) == 0 {
		<-ctx.Done()
		return
	}
	var running sync.WaitGroup
	running.Go(func() { rs.watch.run(ctx) })
	for _, r := range rs.routers {
		running.Go(func() { r.run(ctx) })
	}
	running.Wait()
}

// SetFitness says whether this node could serve those who come to the addresses.
// Until it is first called it cannot. An owner that becomes unfit releases the
// addresses at once. It never blocks, and any goroutine may call it, as often as
// it likes.
func (rs *Routers) SetFitness(f Fitness) {
	for _, r := range rs.routers {
		r.set(f)
	}
}

// Stats are all instances in the order of the configuration. It costs an atomic
// load for each.
func (rs *Routers) Stats() []Stats {
	all := make([]Stats, len(rs.routers))
	for i, r := range rs.routers {
		all[i] = *r.snapshot.Load()
	}
	return all
}

// publish makes Stats what they are now.
func (r *router) publish() {
	m := r.machine
	s := &Stats{
		Name: r.vip.Name, Interface: r.vip.Interface, RouterID: r.vip.RouterID, Version: r.vip.Version,
		Addresses: r.vip.Addresses, Unicast: len(r.vip.Peers) > 0,
		State: m.state, Since: m.since, Why: m.why,
		Priority: Priority{Configured: r.vip.Priority, Effective: m.priority()},
		Lease:    r.lease.stats(),
		Sent:     r.sent, Received: r.received, Announced: r.announced,
		Rejected: maps.Clone(r.rejected), Failures: maps.Clone(r.failures),
		Transitions: maps.Clone(m.entered), Alarms: maps.Clone(m.alarms),
	}
	if r.socket != nil {
		s.Source = r.socket.source.String()
	}
	if m.state == Backup {
		s.MasterDown = m.downAt()
	}
	if m.peer.addr.IsValid() {
		s.Peer = &Peer{Address: m.peer.addr, Priority: m.peer.priority, Heard: m.peer.heard}
	}
	r.snapshot.Store(s)
}
