package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/proxy"
	"holdfast/sentinel"
)

// front is holdfast's data path in this process: with the race detector, or with
// a panic, it tells more than a program of its own.
type front struct {
	addr  string
	stats func() proxy.Stats
	stop  func() // ends it, and waits until it has ended
}

// getReady bounds the time until it serves.
const getReady = 15 * time.Second

func startFront(ctx context.Context, c *redistest.Cluster, cfg Config) (*front, error) {
	full := config.Default()
	full.Sentinel.Addresses = c.SentinelAddrs()
	full.Limits.Loops = cfg.Loops
	full.Drain.Timeout = config.Duration(time.Second)
	l := config.DefaultListener()
	l.Address, l.Master, l.Mode = "127.0.0.1:0", c.Name(), cfg.Mode
	full.Listeners = []config.Listener{l}
	log := zerolog.New(zerolog.SyncWriter(cfg.Out)).Level(zerolog.ErrorLevel)
	group := sentinel.New(full.Sentinel, full.Failover, full.Masters(), full.Redis.TLS, log)
	p, err := proxy.New(&full, group, log)
	if err != nil {
		return nil, err
	}
	watching, endWatching := context.WithCancel(context.Background())
	serving, endServing := context.WithCancel(context.Background())
	var watch, serve sync.WaitGroup
	watch.Go(func() { group.Run(watching) })
	serve.Go(func() { p.Run(serving) })
	f := &front{stats: p.Stats, stop: func() {
		endServing()
		serve.Wait()
		endWatching()
		watch.Wait()
	}}
	if err := f.await(ctx, group.Tracker(c.Name())); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// await waits until the listener is bound and the master served.
func (f *front) await(ctx context.Context, tracker *sentinel.Tracker) error {
	ctx, cancel := context.WithTimeout(ctx, getReady)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		l := f.stats().Listeners[0]
		if l.Bound && tracker.View().Serving() {
			f.addr = l.Address
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("holdfast does not serve: bound %v, %s", l.Bound, tracker.View().Reason), ctx.Err())
		}
	}
}
