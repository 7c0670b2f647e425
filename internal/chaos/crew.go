package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Troupe is the number of clients of which every kind has at least one.
const Troupe = 31

// crew is all clients of a run.
type crew struct {
	*arena
	players []player
	counts  map[string]int // clients so far, by kind

	sources, sinks sync.WaitGroup
}

// newCrew makes at least n clients: a troupe, then more of the same, in groups
// that belong together.
func newCrew(a *arena, n int) *crew {
	c := &crew{arena: a, counts: make(map[string]int)}
	a.slowdown = max(1, (n+Troupe-1)/Troupe)
	for len(c.players) < n {
		for _, group := range []func(){
			c.writers, c.readers, c.speakers, c.queues, c.transfers, c.increments, c.cachers, c.loners,
		} {
			if len(c.players) < n {
				group()
			}
		}
	}
	return c
}

// member makes the next client of a kind.
func (c *crew) member(kind string) *client {
	c.counts[kind]++
	return &client{
		arena:    c.arena,
		name:     fmt.Sprintf("%s-%d", kind, c.counts[kind]),
		going:    make(chan struct{}),
		evidence: evidence{errors: make(map[string]int), lost: make(map[string]int)},
	}
}

func (c *crew) add(players ...player) { c.players = append(c.players, players...) }

func (c *crew) writers() {
	for range 8 {
		c.add(newWriter(c.member("writer")))
	}
}

func (c *crew) readers() {
	a, b, d := newReader(c.member("reader")), newReader(c.member("reader")), newReader(c.member("reader"))
	a.neighbour, b.neighbour, d.neighbour = b, d, a
	c.add(a, b, d)
}

func (c *crew) speakers() {
	p := c.member("publisher")
	topic := "news:" + p.name
	c.add(newPublisher(p, topic),
		newSubscriber(c.member("subscriber"), topic, false),
		newSubscriber(c.member("psubscriber"), topic, true))
}

func (c *crew) queues() {
	f := c.member("feeder")
	key := "queue:" + f.name
	c.add(newFeeder(f, key), newWaiter(c.member("waiter"), key))
}

func (c *crew) transfers() {
	c.add(newTransfer(c.member("transfer")), newTransfer(c.member("transfer")))
}

func (c *crew) increments() {
	first := c.member("increment")
	shared := &contest{key: "contest:" + first.name}
	c.add(newIncrement(first, shared), newIncrement(c.member("increment"), shared), newIncrement(c.member("increment"), shared))
}

func (c *crew) cachers() {
	w := c.member("changer")
	key, newest := "cached:"+w.name, new(atomic.Int64)
	c.add(newChanger(w, key, newest), newCacher(c.member("cacher"), key, newest))
}

func (c *crew) loners() {
	c.add(newIdler(c.member("idler")), newIdler(c.member("idler")),
		newPipeliner(c.member("pipeliner")), newPipeliner(c.member("pipeliner")),
		newSelector(c.member("selector")), newNamer(c.member("namer")),
		newNewcomer(c.member("newcomer")), newScripter(c.member("scripter")))
}

// start sets all clients going. The crew must be finished.
func (c *crew) start() {
	for _, p := range c.players {
		if p.source() {
			c.sources.Go(p.play)
		} else {
			c.sinks.Go(p.play)
		}
	}
}

// warmUp bounds the time until every client has had its first right reply; only
// subscribers and waiters may need somebody else for that.
const warmUp = 20 * time.Second

// going waits until every client has had its first right reply.
func (c *crew) going(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmUp)
	defer cancel()
	var late []string
	for _, p := range c.players {
		select {
		case <-p.identity().going:
			continue
		case <-ctx.Done():
		}
		select {
		case <-p.identity().going:
		default:
			late = append(late, p.identity().name)
		}
	}
	if late != nil {
		return fmt.Errorf("the endpoint does not serve everybody, even without a fault: %s", strings.Join(late, ", "))
	}
	return nil
}

// finish tells the clients to stop, sources before sinks, and waits for them: no
// longer than their patience for one reply, twice.
func (c *crew) finish() {
	close(c.stop)
	c.sources.Wait()
	close(c.drain)
	c.sinks.Wait()
	for _, p := range c.players {
		p.identity().hangUp()
	}
}

// clients returns all clients, and so all evidence.
func (c *crew) clients() []*client {
	all := make([]*client, len(c.players))
	for i, p := range c.players {
		all[i] = p.identity()
	}
	return all
}
