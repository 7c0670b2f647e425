//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// footing is what the proxy and the Redis behind it hold at one moment.
type footing struct{ proxy, redis footprint }

// idleCost is what idle connections cost, and the 50 busy clients beside them.
type idleCost struct {
	opened        int     // idle connections; fewer than wanted when the endpoint refused
	before, after footing // the idle connections
	loaded        footing // after the busy clients have run beside them
	still         usage   // while nobody asked for anything
	busy          outcome
}

// measureIdle starts an endpoint of its own, because one that has carried load
// has free memory that would hide what idle clients take. It is warmed by the
// busy clients first, so that what load alone costs is in the first figure. An
// endpoint that does not take all idle connections has that as its outcome.
func (r *rig) measureIdle(ctx context.Context, e endpoint, c class, window time.Duration) (idleCost, error) {
	var cost idleCost
	i, err := r.start(ctx, e)
	if err != nil {
		return cost, err
	}
	defer r.stop(i)
	if _, err := r.measureBusy(ctx, i, c, window); err != nil {
		return cost, err
	}
	if cost.before, err = r.settled(ctx, i); err != nil {
		return cost, err
	}
	fds, refused := openIdle(ctx, i.port, c.idle)
	defer closeAll(fds)
	cost.opened = len(fds)
	if cost.after, err = r.settled(ctx, i); err != nil {
		return cost, err
	}
	if cost.still, err = r.stillness(ctx, i); err != nil {
		return cost, err
	}
	if refused != nil {
		cost.loaded, cost.busy = cost.after, outcome{errors: 1, fault: refused.Error()}
		return cost, nil
	}
	if cost.busy, err = r.measureBusy(ctx, i, c, window); err != nil {
		return cost, err
	}
	cost.loaded, err = r.settled(ctx, i)
	return cost, err
}

// measureBusy runs the class' busy connections once. A holdfast's allocations
// are counted from when all clients are under way, but around the window, not in
// it: to be asked costs the proxy time.
func (r *rig) measureBusy(ctx context.Context, i *instance, c class, window time.Duration) (outcome, error) {
	g, err := newGenerator(i.door(c), i.as(c))
	if err != nil {
		return outcome{}, err
	}
	defer g.close()
	if err := g.warm(ctx, window/8); err != nil {
		return outcome{}, err
	}
	if !i.holdfast {
		return g.measure(ctx, r.meterFor(i), window/8, window)
	}
	before, err := i.mallocs()
	if err != nil {
		return outcome{}, err
	}
	o, err := g.measure(ctx, r.meterFor(i), window/8, window)
	if err != nil {
		return o, err
	}
	after, err := i.mallocs()
	o.mallocs = max(after-before-mallocsGrain, 0)
	return o, err
}

// openIdle opens n connections, in steps that no backlog refuses, and has each
// do one PING. On an error it returns those that were answered.
func openIdle(ctx context.Context, port, n int) ([]int, error) {
	const step = 100
	fds := make([]int, 0, n)
	for len(fds) < n {
		if err := ctx.Err(); err != nil {
			return fds, err
		}
		answered, err := openStep(port, min(step, n-len(fds)))
		fds = append(fds, answered...)
		if err != nil {
			return fds, fmt.Errorf("idle connection %d: %w", len(fds)+1, err)
		}
	}
	return fds, nil
}

// openStep sends all n PINGs before it reads the first answer.
func openStep(port, n int) ([]int, error) {
	ping, pong := encode("PING"), []byte("+PONG\r\n")
	var fds []int
	for range n {
		fd, err := dial(port, connTimeout)
		if err == nil {
			fds = append(fds, fd)
			_, err = socket(fd).Write(ping)
		}
		if err != nil {
			closeAll(fds)
			return nil, err
		}
	}
	for k, fd := range fds {
		if err := receive(socket(fd), pong); err != nil {
			closeAll(fds[k:])
			return fds[:k], err
		}
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// settled returns the footing once neither the proxy's memory nor anybody's
// descriptors have moved for half a second, or after 5 s as it then is:
// connections are closed and garbage is collected behind a client's back.
func (r *rig) settled(ctx context.Context, i *instance) (footing, error) {
	last, err := r.footing(i)
	for still, looks := 0, 0; err == nil && still < 5 && looks < 50; looks++ {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		var now footing
		now, err = r.footing(i)
		if now.proxy.near(last.proxy) && now.redis.fds == last.redis.fds {
			still++
		} else {
			still = 0
		}
		last = now
	}
	return last, err
}

// stillness is what everybody uses within a second in which no client asks for
// anything.
func (r *rig) stillness(ctx context.Context, i *instance) (usage, error) {
	m := r.meterFor(i)
	before, err := m.read()
	if err != nil {
		return usage{}, err
	}
	select {
	case <-ctx.Done():
		return usage{}, ctx.Err()
	case <-time.After(time.Second):
	}
	after, err := m.read()
	return after.since(before), err
}

func (r *rig) footing(i *instance) (footing, error) {
	var f footing
	var err error
	if i.proc != nil {
		if f.proxy, err = footprintOf(i.proc.pid()); err != nil {
			return f, err
		}
	}
	f.redis, err = footprintOf(r.redis.pid())
	return f, err
}
