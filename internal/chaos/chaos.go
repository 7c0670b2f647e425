// Package chaos proves what is promised about failovers: it runs clients of every kind
// through an endpoint in front of a real cluster, breaks something, and compares
// what the clients were told with what the cluster holds in the end.
//
// Its invariants: a client sends a command once and never hides a broken
// connection, so whatever happened is in its evidence; the judge believes no
// endpoint, but reads the final data from the node that the Sentinels agree on,
// past the endpoint; an endpoint is an address, so any can be judged, and those
// that are known to fail must.
package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"holdfast/internal/redistest"
)

// Config says what to run.
type Config struct {
	Fault    Fault
	Endpoint Endpoint
	Clients  int           // at least; 0: one Troupe
	Duration time.Duration // how long the clients go on after the fault; 0: until the cluster is whole again
	Patience time.Duration // for one reply, then it counts as hung; 0: 40 s, more than an endpoint may hold
	Log      io.Writer     // what the endpoint's program prints, and then what happened and the end of all nodes' logs; a file, or something as safe for two writers; nil: discarded
}

const (
	defaultPatience = 40 * time.Second
	settleTimeout   = 90 * time.Second // Sentinel leaves an old master alone for 11 s, a replica at a wrong one for failover-timeout
	healthy         = time.Second      // how long the clients run before the fault, and at least after the cluster is whole again
	phase           = time.Second      // a Sentinel does most things once in this time, all of them at the same moment after their common start
)

// Options is the cluster that a fault is tried on.
func (f Fault) Options() redistest.Options {
	return redistest.Options{Replicas: 2, Sentinels: 3, Namespaces: f.Namespaces}
}

// Run starts a cluster and an endpoint for one run, and judges it. An error means
// that there is no verdict.
func Run(ctx context.Context, cfg Config) (*Verdict, error) {
	c, err := redistest.Start(ctx, cfg.Fault.Options())
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	return RunOn(ctx, c, cfg)
}

// RunOn is Run on a cluster that is whole. It deletes all data in it first, and
// may leave it broken.
func RunOn(ctx context.Context, c *redistest.Cluster, cfg Config) (*Verdict, error) {
	cfg = cfg.withDefaults()
	master, err := c.Master(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := master.Do(ctx, "FLUSHALL"); err != nil {
		return nil, err
	}
	front, err := cfg.Endpoint.Start(ctx, c, cfg.Log)
	if err != nil {
		return nil, err
	}
	defer front.Stop()
	return cfg.perform(ctx, c, front, cfg.arena(c, front.Addr))
}

// withDefaults fills what was left out.
func (cfg Config) withDefaults() Config {
	if cfg.Clients == 0 {
		cfg.Clients = Troupe
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	return cfg
}

// arena is the place where clients reach the endpoint: beside it, so that a
// partition that hits it does not come between.
func (cfg Config) arena(c *redistest.Cluster, addr string) *arena {
	return &arena{
		dial: func(ctx context.Context) (net.Conn, error) {
			return c.Endpoint().DialContext(ctx, "tcp", addr)
		},
		began:    time.Now(),
		patience: cfg.Patience,
		stop:     make(chan struct{}),
		drain:    make(chan struct{}),
	}
}

// perform is the run itself.
func (cfg Config) perform(ctx context.Context, c *redistest.Cluster, front *Front, a *arena) (*Verdict, error) {
	team := newCrew(a, cfg.Clients)
	watch := observe(ctx, c.Nodes, a.clock)
	team.start()
	t := new(timeline)
	s := &scene{Cluster: c, front: front, clock: a.clock}
	err := cfg.play(ctx, s, team, t)
	t.end = a.clock()
	team.finish()
	t.promotions, t.events, t.healed = watch.promotions(), s.events, s.healed
	if err == nil && cfg.Fault.Apart {
		err = t.noteFence(ctx, front, a.began)
	}
	cfg.recount(c, t, a.began)
	if err != nil {
		return nil, err
	}
	var final *redistest.Node
	if err := retry(ctx, func() (err error) { final, err = s.master(ctx); return err }); err != nil {
		return nil, err
	}
	d, err := openData(ctx, final)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return judge(cfg.Fault, team.clients(), t, d)
}

// play waits for the clients, injects the fault, and waits until it is over.
func (cfg Config) play(ctx context.Context, s *scene, team *crew, t *timeline) error {
	if err := team.going(ctx); err != nil {
		return err
	}
	t.from = s.clock()
	if err := wait(ctx, healthy+rand.N(phase)); err != nil {
		return err
	}
	if err := cfg.Fault.inject(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", cfg.Fault.Name, err)
	}
	if cfg.Duration != 0 {
		return wait(ctx, cfg.Duration)
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if _, err := s.settle(ctx); err != nil {
		return fmt.Errorf("%s: the cluster does not settle: %w", cfg.Fault.Name, err)
	}
	s.mark("the cluster is whole again")
	return wait(ctx, healthy)
}

// wordsLeft is how many lines of each node's log are of interest.
const wordsLeft = 200

// recount writes what happened, with the time of day as it stands in the logs,
// and the end of each node's own log.
func (cfg Config) recount(c *redistest.Cluster, t *timeline, began time.Time) {
	for _, e := range t.happened() {
		fmt.Fprintf(cfg.Log, "%s  %7.3f s  %s\n", began.Add(e.At).Format("15:04:05.000"), e.At.Seconds(), e.What)
	}
	fmt.Fprint(cfg.Log, c.Logs(wordsLeft))
}
