// Package sentinel finds out who is master, by what Sentinels say and nodes prove.
//
// Its invariants:
//
//   - A View is Serving only if the newest configuration that the Sentinels have
//     names its master, and that node itself said role:master, just before it began
//     and about every second since. (Where a node wants a login and holdfast has
//     none, Proven is false and the second half is left to the clients' own logins.)
//   - Newer epochs beat older ones. An older one is believed only by a majority of
//     the known Sentinels, dead ones counted.
//   - From the moment that a failover's leader has selected a replica, at the
//     latest, which is before it promotes it, the old master is not served; and not after the failover either, whatever it says about itself, until
//     it has been seen as a replica and is named again, or a majority names it.
//   - Losing sight of Sentinels stops nothing, unless the master has lost its
//     replicas too.
//   - The machine decides and nothing else does; it has no socket, clock or goroutine.
package sentinel

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"holdfast/config"
)

// Group follows one set of Sentinels for all master names.
type Group struct {
	conf     config.Sentinel
	log      zerolog.Logger
	outside  outside
	book     *book
	names    []string
	trackers map[string]*Tracker

	sightings chan sighting
	watchers  atomic.Pointer[[]*watcher] // replaced by Run's goroutine alone
}

// New makes a Group. masters are the names to follow and how to log in to their
// nodes, an empty login is none; nodes is how those are spoken to. Nothing happens
// before Run.
func New(s config.Sentinel, f config.Failover, masters map[string]config.Login, nodes config.ClientTLS, log zerolog.Logger) *Group {
	return newGroup(s, f, masters, nodes, log, outside{dial: (&net.Dialer{KeepAlive: -1}).DialContext})
}

func newGroup(s config.Sentinel, f config.Failover, masters map[string]config.Login, nodes config.ClientTLS, log zerolog.Logger, o outside) *Group {
	redis.SetLogger(library{log})
	o.tls, o.key = s.TLS, "sentinel.tls"
	g := &Group{
		conf: s, log: log, outside: o,
		book:      newBook(s.AddressMap, systemLookup),
		names:     slices.Sorted(maps.Keys(masters)),
		trackers:  make(map[string]*Tracker),
		sightings: make(chan sighting),
	}
	g.watchers.Store(new([]*watcher))
	r := rules{
		release: f.Release, fenceTimeout: time.Duration(f.FenceTimeout), requireQuorum: f.RequireQuorum, demote: f.DemoteOldMaster,
		pollInterval: time.Duration(s.PollInterval), timeout: time.Duration(s.Timeout),
	}
	for name, login := range masters {
		p := prober{outside: outside{o.dial, nodes, "redis.tls"}, login: login, timeout: r.timeout}
		g.trackers[name] = newTracker(name, r, p.ask, p.demote, g.pollNow, log)
		g.trackers[name].prober = p
	}
	return g
}

// Tracker is the one of this master name, nil if it is not configured. It may be
// asked at any time; its View is Unknown until Run has heard something.
func (g *Group) Tracker(name string) *Tracker { return g.trackers[name] }

// pollNow has every Sentinel polled. It does not block.
func (g *Group) pollNow() {
	for _, w := range *g.watchers.Load() {
		w.pollNow()
	}
}

// sight hands over a sighting; it waits for Run's goroutine, or ctx.
func (g *Group) sight(ctx context.Context, s sighting) {
	select {
	case g.sightings <- s:
	case <-ctx.Done():
	}
}

// Run follows the Sentinels until ctx ends. It returns when everything that it
// started has ended, which takes no longer than the timeout.
func (g *Group) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, t := range g.trackers {
		running.Go(func() { t.run(ctx) })
	}
	r := &roll{g: g, ctx: ctx, running: &running, began: time.Now(), entries: make(map[string]*entry)}
	for _, addr := range g.conf.Addresses {
		r.add(member{addr: addr}, true)
	}
	r.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-g.sightings:
			r.take(s)
		}
	}
}

// lately is how long ago a Sentinel in sight may have answered.
func (g *Group) lately() time.Duration {
	return rules{pollInterval: time.Duration(g.conf.PollInterval), timeout: time.Duration(g.conf.Timeout)}.sight()
}

// Stats is a snapshot of everything known. It takes no lock and may be called
// from any goroutine.
func (g *Group) Stats() Stats {
	var s Stats
	for _, w := range *g.watchers.Load() {
		s.Sentinels = append(s.Sentinels, w.stats())
	}
	for _, name := range g.names {
		s.Masters = append(s.Masters, *g.trackers[name].snapshot.Load())
	}
	return s
}
