package sentinel

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// forgetAfter is when a discovered Sentinel that no other names any more is let
	// go. A configured one never is.
	forgetAfter = 10 * time.Minute

	// mostSentinels bounds how many are watched, whatever they say of each other.
	mostSentinels = 64
)

// sighting is what a watcher has learnt about the Sentinels themselves.
type sighting struct {
	via   string
	id    string
	peers []member
}

// roll is the list of Sentinels that are watched. It belongs to Run's goroutine.
type roll struct {
	g       *Group
	ctx     context.Context
	running *sync.WaitGroup
	began   time.Time
	entries map[string]*entry // by address
}

// entry is one Sentinel.
type entry struct {
	member
	watcher *watcher
	stop    context.CancelFunc
	named   time.Time // when another Sentinel last named it
	heard   time.Time // when it last answered
}

func (r *roll) add(s member, given bool) {
	if r.entries[s.addr] != nil || len(r.entries) >= mostSentinels {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	w := newWatcher(r.g, s.addr, given)
	r.entries[s.addr] = &entry{member: s, watcher: w, stop: stop, named: time.Now()}
	r.running.Go(func() { w.run(ctx) })
	if !given {
		w.log.Info().Str("id", s.id).Msg("Sentinel discovered")
	}
}

func (r *roll) drop(e *entry, why string) {
	e.stop()
	delete(r.entries, e.addr)
	e.watcher.log.Info().Str("id", e.id).Msg("Sentinel no longer watched: " + why)
}

// changed tells everybody who is watched now.
func (r *roll) changed() {
	var watchers []*watcher
	var members []member
	for _, addr := range slices.Sorted(maps.Keys(r.entries)) {
		watchers = append(watchers, r.entries[addr].watcher)
		members = append(members, r.entries[addr].member)
	}
	r.g.watchers.Store(&watchers)
	for _, t := range r.g.trackers {
		t.enlist(r.ctx, members)
	}
}

// take adds the Sentinels that one has named, and lets go of those that nobody
// has named for long.
func (r *roll) take(s sighting) {
	from := r.entries[s.via]
	if from == nil {
		return
	}
	before := len(r.entries)
	now := time.Now()
	renamed := from.id != s.id
	from.id, from.heard = s.id, now
	if from.watcher.given {
		r.dropAliases(from)
	}
	added := false
	for _, peer := range s.peers {
		if e := r.find(peer, now); e != nil {
			e.named = now
		} else if r.complete(now) {
			r.add(peer, false)
			added = true
		}
	}
	for _, e := range r.entries {
		if !e.watcher.given && now.Sub(e.named) > forgetAfter {
			r.drop(e, "no other Sentinel names it any more")
		}
	}
	if added || renamed || len(r.entries) != before {
		r.changed()
	}
}

// find is the entry that a peer is: the one at its address, or the one that has
// its id and answers, at whatever address.
func (r *roll) find(peer member, now time.Time) *entry {
	if e := r.entries[peer.addr]; e != nil {
		e.id = cmp.Or(e.id, peer.id)
		return e
	}
	for _, e := range r.entries {
		if peer.id != "" && e.id == peer.id && now.Sub(e.heard) < r.g.lately() {
			return e
		}
	}
	return nil
}

// complete says whether every configured Sentinel has answered or had time to:
// one that is configured by its name is recognised by its id only then, and is
// not to be watched a second time at its address.
func (r *roll) complete(now time.Time) bool {
	if now.Sub(r.began) > time.Duration(r.g.conf.Timeout) {
		return true
	}
	for _, e := range r.entries {
		if e.watcher.given && e.heard.IsZero() {
			return false
		}
	}
	return true
}

// dropAliases lets go of discovered Sentinels that turn out to be this configured
// one.
func (r *roll) dropAliases(of *entry) {
	for _, e := range r.entries {
		if e != of && !e.watcher.given && e.id == of.id {
			r.drop(e, "it is "+of.addr)
		}
	}
}
