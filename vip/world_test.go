package vip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast/config"
)

// world is several machines on one link, with kernels under them: a lease that
// ends by itself, a queue of what came while the process stood still, and clients
// that believe the last announcement they got.
type world struct {
	t        *testing.T
	r        *rand.Rand
	seed     uint64
	now      time.Time
	start    time.Time
	nodes    []*actor
	wire     []parcel
	believed *actor    // by the clients
	whole    time.Time // since when nobody is cut off and no process stands still; zero: it is not so
	both     time.Duration
	stale    time.Duration // how long it is already that the clients believe wrongly
	story    strings.Builder
}

// actor is one machine, its process and its kernel.
type actor struct {
	*world
	m        *machine
	cut      bool      // from everybody, clients too
	stopped  bool      // the process
	expires  time.Time // of the addresses in the kernel; zero: they are not there
	renewed  time.Time // as the process knows it
	lifetime time.Duration
	queue    []parcel
	gone     bool // the kernel removed the addresses, and the process has not heard of it
}

// parcel is an advert on its way, or an announcement.
type parcel struct {
	at       time.Time
	from, to *actor // to nobody: an announcement, for the clients
	advert   advert
}

const wireDelay = time.Millisecond

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), seed: seed, start: time.Unix(1e9, 0)}
	w.now, w.whole = w.start, w.start
	v := newStory(t).vip
	v.Preempt = w.r.IntN(2) == 0
	if w.r.IntN(2) == 0 {
		v.Version = 3
		v.AdvertInterval = config.Duration([]time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}[w.r.IntN(3)])
	}
	same := w.r.IntN(4) == 0
	for i := range 2 + w.r.IntN(2) {
		v.Priority = 100
		if !same {
			v.Priority = []int{1, 100, 254}[i]
		}
		n := &actor{world: w, m: newMachine(v, address(string(rune('A'+i))), w.now)}
		n.lifetime = max((3*n.m.own() - time.Second).Truncate(time.Second), time.Second)
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		n.do(n.m.fit(w.now, Fitness{Fit: true}))
	}
	return w
}

// owners are those whose kernel has the addresses.
func (w *world) owners() (all []*actor) {
	for _, n := range w.nodes {
		if !n.expires.IsZero() {
			all = append(all, n)
		}
	}
	return all
}

func (n *actor) name() string { return fmt.Sprint(n.m.source) }

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(&w.story, "%8.1f ms: %s\n", float64(w.now.Sub(w.start))/1e6, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d, preempt %v, interval %v: %s\n%s", w.seed, w.nodes[0].m.vip.Preempt, w.nodes[0].m.own(), fmt.Sprintf(format, args...), w.story.String())
}

// do is the router: it carries out what the machine wants.
func (n *actor) do(actions []action) {
	for i := 0; i < len(actions); i++ {
		switch a := actions[i]; a.kind {
		case take:
			n.hold()
		case refresh:
			if gap := n.now.Sub(n.renewed); gap > n.lifetime {
				actions, i = n.m.slept(n.now, gap), -1
				continue
			}
			n.hold()
		case send:
			for _, to := range n.nodes {
				if to != n {
					n.wire = append(n.wire, parcel{n.now.Add(wireDelay), n, to, a.advert})
				}
			}
		case announce:
			n.wire = append(n.wire, parcel{at: n.now.Add(wireDelay), from: n})
		case drop:
			n.expires = time.Time{}
		case enter, alarm:
			n.note("%s: %v", n.name(), a)
		}
	}
}

// hold is what the kernel does: it counts in seconds, and looks when it likes to.
func (n *actor) hold() {
	n.renewed = n.now
	n.expires = n.now.Add(n.lifetime + time.Duration(n.r.Int64N(int64(time.Second))))
}

// deliver brings a parcel to its end.
func (w *world) deliver(p parcel) {
	switch {
	case p.from.cut, p.to != nil && p.to.cut:
	case p.to == nil:
		if !p.from.expires.IsZero() {
			w.believed = p.from
		}
	case p.to.stopped:
		p.to.queue = append(p.to.queue, p)
	default:
		p.to.do(p.to.m.hear(w.now, p.from.m.source, p.advert))
	}
}

// thaw lets a stopped process find everything at once, in any order.
func (n *actor) thaw() {
	n.stopped = false
	inputs := []func(){
		func() { n.do(n.m.tick(n.now)) },
		func() {
			for _, p := range n.queue {
				n.do(n.m.hear(n.now, p.from.m.source, p.advert))
			}
		},
	}
	if n.gone {
		inputs = append(inputs, func() { n.do(n.m.lost(n.now, netip.Addr{})) })
	}
	n.r.Shuffle(len(inputs), func(i, j int) { inputs[i], inputs[j] = inputs[j], inputs[i] })
	for _, input := range inputs {
		input()
	}
	n.queue, n.gone = nil, false
}

// until lets time pass, and measures what it was like.
func (w *world) until(end time.Time) {
	for w.now.Before(end) {
		due := end
		sooner := func(t time.Time) {
			if !t.IsZero() && t.Before(due) {
				due = t
			}
		}
		for _, n := range w.nodes {
			sooner(n.expires)
			if !n.stopped {
				sooner(n.m.next())
			}
		}
		for _, p := range w.wire {
			sooner(p.at)
		}
		w.measure(max(0, due.Sub(w.now)))
		if due.After(w.now) {
			w.now = due
		}
		w.happen()
	}
}

// happen is everything that is due now.
func (w *world) happen() {
	wire := w.wire
	w.wire = nil
	for _, p := range wire {
		if p.at.After(w.now) {
			w.wire = append(w.wire, p)
		} else {
			w.deliver(p)
		}
	}
	for _, n := range w.nodes {
		if !n.expires.IsZero() && !n.expires.After(w.now) {
			w.note("%s: the lease ends", n.name())
			n.expires = time.Time{}
			if n.gone = n.stopped; !n.stopped {
				w.fail("%s lets its lease end while it lives", n.name())
			}
		}
		if next := n.m.next(); !n.stopped && !next.IsZero() && !next.After(w.now) {
			n.do(n.m.tick(w.now))
		}
	}
}

// measure takes into account that it stays as it is for d.
func (w *world) measure(d time.Duration) {
	owners := w.owners()
	if len(owners) > 1 {
		w.both += d
	} else {
		w.both = 0
	}
	if len(owners) == 1 && w.believed != owners[0] {
		w.stale += d
	} else {
		w.stale = 0
	}
	if w.whole.IsZero() {
		w.both, w.stale = 0, 0
		return
	}
	// Who comes back is heard with the next advert, and believed with the next
	// announcement.
	both, stale := 5*wireDelay, 5*wireDelay
	interval := w.nodes[0].m.own()
	if healed := w.now.Sub(w.whole); healed < interval+remind {
		both += interval
		stale += interval + remind
	}
	if w.both > both {
		w.fail("two own the addresses for %v", w.both)
	}
	if w.stale > stale {
		w.fail("clients are sent to the wrong node for %v", w.stale)
	}
}

// befall does something bad to a node, or makes up for it.
func (w *world) befall(n *actor) {
	switch w.r.IntN(6) {
	case 0:
		n.cut = !n.cut
		w.note("%s is cut off: %v", n.name(), n.cut)
	case 1:
		w.note("%s stands still", n.name())
		n.stopped = true
	case 2, 3:
		if n.stopped {
			w.note("%s goes on", n.name())
			n.thaw()
		}
	case 4:
		f := Fitness{Fit: w.r.IntN(2) == 0, Why: "so"}
		w.note("%s is fit: %v", n.name(), f.Fit)
		if !n.stopped {
			n.do(n.m.fit(w.now, f))
		}
	case 5:
		if !n.stopped && !n.expires.IsZero() {
			w.note("%s loses the addresses", n.name())
			n.expires = time.Time{}
			n.do(n.m.lost(w.now, netip.Addr{}))
		}
	}
	bad := 0
	for _, n := range w.nodes {
		if n.cut || n.stopped {
			bad++
		}
	}
	if bad > 0 {
		w.whole = time.Time{}
	} else if w.whole.IsZero() {
		w.whole = w.now
	}
}

// Whatever befell the nodes, once it is over exactly one owns, the clients know
// which, and of those that may preempt it is the best. While it lasts, in a network
// that is whole there is at most one.
func TestWorlds(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 150
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		interval := w.nodes[0].m.own()
		for range 12 {
			w.until(w.now.Add(time.Duration(w.r.Int64N(int64(6 * interval)))))
			w.befall(w.nodes[w.r.IntN(len(w.nodes))])
		}
		w.note("it is over")
		for _, n := range w.nodes {
			n.cut = false
			if n.stopped {
				n.thaw()
			}
			n.do(n.m.fit(w.now, Fitness{Fit: true}))
		}
		if w.whole.IsZero() {
			w.whole = w.now
		}
		w.until(w.now.Add(12 * interval))
		owners, best := w.owners(), w.nodes[len(w.nodes)-1]
		if len(owners) != 1 || owners[0].m.state != Master {
			w.fail("%d own the addresses in the end", len(owners))
		}
		if owners[0] != w.believed {
			w.fail("the clients know another owner in the end")
		}
		if w.nodes[0].m.vip.Preempt && owners[0].m.priority() != best.m.priority() {
			w.fail("%s owns in the end", owners[0].name())
		}
	}
}

// An owner that dies, or stands still, with an interval of a second or more, has
// lost the addresses before another takes them, if it was heard until then.
func TestDeath(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed)
		interval := w.nodes[0].m.own()
		if interval < time.Second {
			continue
		}
		w.until(w.now.Add(8*interval + time.Duration(w.r.Int64N(int64(interval)))))
		dead := w.owners()[0]
		dead.stopped = true
		w.note("%s stands still", dead.name())
		w.until(w.now.Add(8 * interval))
		if owners := w.owners(); len(owners) != 1 || owners[0] == dead || w.believed != owners[0] {
			w.fail("it does not go on")
		}
		w.note("%s goes on", dead.name())
		dead.thaw()
		w.until(w.now.Add(8 * interval))
	}
}
