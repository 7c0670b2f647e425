package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/internal/redistest"
)

const (
	roleEvery   = 3 * time.Millisecond   // between two looks at one node's role
	roleTimeout = 300 * time.Millisecond // for one look; a frozen node has no role
)

// observer asks every data node for its role all the time, from inside the node's
// host, so that no partition hides it. It ends with its context.
type observer struct {
	clock func() time.Duration
	wg    sync.WaitGroup
	end   context.CancelFunc
	logs  []*roleLog
}

// roleLog is the promotions of one node. It belongs to the goroutine that watches
// the node until that ends.
type roleLog struct {
	node       *redistest.Node
	promotions []time.Duration
}

func observe(ctx context.Context, nodes []*redistest.Node, clock func() time.Duration) *observer {
	o := &observer{clock: clock}
	ctx, o.end = context.WithCancel(ctx)
	for _, n := range nodes {
		l := &roleLog{node: n}
		o.logs = append(o.logs, l)
		o.wg.Go(func() { o.watch(ctx, l) })
	}
	return o
}

// promotions ends the observation and returns all promotions, ascending.
func (o *observer) promotions() []time.Duration {
	o.end()
	o.wg.Wait()
	var all []time.Duration
	for _, l := range o.logs {
		all = append(all, l.promotions...)
	}
	slices.Sort(all)
	return all
}

// watch follows one node until ctx ends. A promotion is a replica that says
// master, at once or when it answers again.
func (o *observer) watch(ctx context.Context, l *roleLog) {
	tick := time.NewTicker(roleEvery)
	defer tick.Stop()
	var c *conn
	role := ""
	for {
		select {
		case <-ctx.Done():
			if c != nil {
				c.close()
			}
			return
		case <-tick.C:
		}
		var now string
		if c, now = look(ctx, l.node, c); now == "" {
			continue
		}
		if role == "slave" && now == "master" {
			l.promotions = append(l.promotions, o.clock())
		}
		role = now
	}
}

// look asks a node for its role, on c or, if that is nil, on a new connection. It
// returns the connection while it is good.
func look(ctx context.Context, n *redistest.Node, c *conn) (*conn, string) {
	if c == nil {
		nc, err := n.Host.DialContext(ctx, "tcp", n.Addr)
		if err != nil {
			return nil, ""
		}
		c = newConn(nc)
	}
	r, err := c.do(roleTimeout, "ROLE")
	if err != nil {
		c.close()
		return nil, ""
	}
	if len(r.elems) == 0 {
		return c, ""
	}
	return c, r.elems[0].text
}

// Event is something that was done or that happened, and when: nanoseconds since
// the run began.
type Event struct {
	At   time.Duration `json:"at"`
	What string        `json:"what"`
}

// timeline is what the judge needs to know of the run besides the evidence.
type timeline struct {
	promotions []time.Duration // when a node was first seen to be master that was a replica before; ascending
	events     []Event         // the fault's own steps; ascending
	from, end  time.Duration   // when all clients were going, and when they were told to stop
	fence      time.Duration   // Apart: when the endpoint stopped writing to its master; 0: it did not
	healed     time.Duration   // when the new master could be reached again; 0: it always could
}

// happened is what was done and what came of it; ascending.
func (t *timeline) happened() []Event {
	all := slices.Clone(t.events)
	for _, p := range t.promotions {
		all = append(all, Event{p, "a replica says master"})
	}
	slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return all
}

// outage is how long the new master could not be reached.
func (t *timeline) outage() time.Duration {
	if t.healed == 0 || len(t.promotions) == 0 {
		return 0
	}
	return t.healed - t.promotions[0]
}

// fencing is how much earlier than it acts an endpoint may note that it does: on a
// machine with more work than cores it can lose its core between the two.
const fencing = time.Millisecond

// noteFence asks the endpoint when it first stopped writing to its master after
// the fault began.
func (t *timeline) noteFence(ctx context.Context, front *Front, began time.Time) error {
	if front.Status == nil {
		return nil
	}
	st, err := front.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the endpoint when it fenced: %w", err)
	}
	for _, f := range stopped(st) {
		if at := f.Sub(began); len(t.events) > 0 && at > t.events[0].At {
			t.fence = at + fencing
			t.events = append(t.events, Event{at, "the endpoint writes no more to its master"})
			return nil
		}
	}
	return nil
}

// lagWindow is how long before a later promotion a missing write may have been
// acknowledged to be taken for replication lag.
const lagWindow = 250 * time.Millisecond

// stale says whether a missing write was acknowledged by a node that was no longer
// the master when the write was sent. What is missing otherwise was acknowledged
// by the master of its day, and not replicated when that ended.
func (t *timeline) stale(sent, done time.Duration) bool {
	after, _ := slices.BinarySearch(t.promotions, sent+1)
	if after == 0 {
		return false
	}
	return after == len(t.promotions) || t.promotions[after]-done > lagWindow
}

// parted says whether a promotion lies between two moments.
func (t *timeline) parted(a, b time.Duration) bool {
	return slices.ContainsFunc(t.promotions, func(p time.Duration) bool { return a <= p && p <= b })
}

// disruptions are the moments at which a subscription may have been interrupted.
func (t *timeline) disruptions(cuts ...[]time.Duration) []time.Duration {
	all := slices.Clone(t.promotions)
	for _, e := range t.events {
		all = append(all, e.At)
	}
	all = slices.Concat(append(cuts, all)...)
	slices.Sort(all)
	return all
}
