package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

// Fitness tells the routers whether this node could serve those who come to their
// addresses, and whether the Redis master is here. Its goroutine alone judges.
type Fitness struct {
	group *sentinel.Group
	proxy func() proxy.Stats
	alive func(context.Context) error
	tell  func(vip.Fitness)
	stuck atomic.Pointer[error] // why clients are not served, by watch; nil: they are

	judge  judge
	told   vip.Fitness
	own    map[netip.Addr]bool // addresses of this machine
	looked time.Time           // for them
	woken  chan struct{}       // a View has changed
}

// How often it looks at what wakes nobody.
const (
	lookEvery    = 100 * time.Millisecond
	addressEvery = time.Second
	aliveEvery   = time.Second
	// aliveWithin is how long a loop may take for one round, which takes milliseconds:
	// as long as a lease lives that nobody renews, since whatever holds up a loop for
	// that long on a starved machine holds up the lease too.
	aliveWithin = 3 * time.Second
)

// NewFitness makes one that bears a master that is not served for as long as grace.
// alive is Proxy.Alive. tell is called by Run's goroutine, whenever there is news; it
// must not block.
func NewFitness(grace time.Duration, group *sentinel.Group, proxy func() proxy.Stats, alive func(context.Context) error, tell func(vip.Fitness)) *Fitness {
	return &Fitness{
		group: group, proxy: proxy, alive: alive, tell: tell,
		judge: judge{grace: grace}, woken: make(chan struct{}, 1),
	}
}

// Run judges until ctx ends: at once when a View changes, and every 100 ms.
func (f *Fitness) Run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	for _, m := range f.group.Stats().Masters {
		following.Go(func() { f.follow(ctx, f.group.Tracker(m.View.Name)) })
	}
	following.Go(func() { f.watch(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		f.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-f.woken:
		case <-tick.C:
		}
	}
}

// follow wakes Run at each new View of one master. It ends with ctx.
func (f *Fitness) follow(ctx context.Context, t *sentinel.Tracker) {
	for {
		v := t.View()
		select {
		case f.woken <- struct{}{}:
		default: // woken already
		}
		select {
		case <-v.Superseded():
		case <-ctx.Done():
			return
		}
	}
}

// watch asks the loops for a sign of life. It ends with ctx.
func (f *Fitness) watch(ctx context.Context) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, aliveWithin)
		err := f.alive(bounded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return // it was called off, which says nothing of the loops
		case err != nil:
			f.stuck.Store(&err)
		default:
			f.stuck.Store(nil)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (f *Fitness) look(now time.Time) {
	if now.Sub(f.looked) >= addressEvery {
		f.own, f.looked = ownAddresses(), now
	}
	verdict, ok := f.judge.verdict(now, f.stuck.Load(), f.group.Stats().Masters, f.proxy().Listeners, f.own)
	if ok && verdict != f.told {
		f.told = verdict
		f.tell(verdict)
	}
}

// ownAddresses are those of all interfaces. If they cannot be read there are none,
// which only means that the master is taken to be elsewhere.
func ownAddresses() map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(n.IP)
			own[ip.Unmap()] = true
		}
	}
	return own
}

// arrival is how long a process that starts has to become fit before it is said to
// be unfit: it is not to raise an alarm at every start.
const arrival = 5 * time.Second

// judge decides whether this node is fit. It has no clock and no goroutine.
//
// A loop that is stuck, a listener that accepts nobody and too few Sentinels in
// sight count at once: another node is better. A master that is not served does
// not: it is so on all nodes during a failover, and to move the addresses then would
// end every client, of whom a failover is to end none. So a fit node stays fit for
// as long as clients wait for a master (grace). A node that is not fit yet, or not any more, becomes
// so only when all is well.
type judge struct {
	grace time.Duration

	begun    time.Time // the first look; zero: there was none
	spoken   bool      // there was a verdict
	fit      bool
	unserved time.Time // since when a master is not served; zero: all are
	local    bool      // where the masters were when they were last all served
}

// verdict is the judgement now. It is not ok while there is none yet.
func (j *judge) verdict(now time.Time, stuck *error, masters []sentinel.MasterStats, listeners []proxy.ListenerStats, own map[netip.Addr]bool) (v vip.Fitness, ok bool) {
	if j.begun.IsZero() {
		j.begun = now
	}
	why := j.obstacle(now, masters, listeners)
	if stuck != nil {
		why = (*stuck).Error()
	}
	j.fit = why == ""
	j.spoken = j.spoken || j.fit || now.Sub(j.begun) >= arrival
	if j.fit && j.unserved.IsZero() {
		j.local = allOn(own, masters)
	}
	return vip.Fitness{Fit: j.fit, Why: why, LocalMaster: j.fit && j.local}, j.spoken
}

// obstacle is why the node is not fit, "" if it is.
func (j *judge) obstacle(now time.Time, masters []sentinel.MasterStats, listeners []proxy.ListenerStats) string {
	unserved := ""
	for _, m := range masters {
		if !m.View.Serving() {
			unserved = fmt.Sprintf("master %s is not served (%s): %s", m.View.Name, m.View.State, m.Reason)
		}
	}
	switch {
	case unserved == "":
		j.unserved = time.Time{}
	case j.unserved.IsZero():
		j.unserved = now
	}
	for _, l := range listeners {
		if !l.Bound {
			return fmt.Sprintf("listener %s is not bound: %s", l.Address, dash(l.Error))
		}
	}
	for _, m := range masters {
		switch {
		case m.CutOff != "":
			return fmt.Sprintf("master %s: %s", m.View.Name, m.CutOff)
		case m.SightedSentinels < m.NeededSentinels:
			return fmt.Sprintf("master %s: %d of %d Sentinels answer and %d are needed", m.View.Name, m.SightedSentinels, m.KnownSentinels, m.NeededSentinels)
		}
	}
	if unserved != "" && j.fit && now.Sub(j.unserved) < j.grace {
		return ""
	}
	return unserved
}

// allOn says whether all masters are at these addresses.
func allOn(own map[netip.Addr]bool, masters []sentinel.MasterStats) bool {
	for _, m := range masters {
		at, err := netip.ParseAddrPort(m.View.Master)
		if err != nil || !own[at.Addr().Unmap()] {
			return false
		}
	}
	return len(masters) > 0
}
