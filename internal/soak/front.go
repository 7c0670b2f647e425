package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/pki"
	"holdfast/internal/redistest"
	"holdfast/proxy"
	"holdfast/sentinel"
)

// front is holdfast's data path in this process: with the race detector, or with
// a panic, it tells more than a program of its own.
type front struct {
	addr  string
	safe  string      // where TLS is spoken
	trust *tls.Config // how
	stats func() proxy.Stats
	stop  func() // ends it, and waits until it has ended
}

// getReady bounds the time until it serves.
const getReady = 15 * time.Second

func startFront(ctx context.Context, c *redistest.Cluster, cfg Config, authority *pki.Authority) (*front, error) {
	towards := "tls: {}"
	if cfg.TLS {
		towards = fmt.Sprintf("tls: {enabled: true, ca_file: %s}", authority.File("ca.pem"))
	}
	to := fmt.Sprintf("address: 127.0.0.1:0, master: %s, mode: %s", c.Name(), cfg.Mode)
	full, err := config.Parse(fmt.Appendf(nil, `
sentinel: {addresses: [%s], %s}
redis: {%s}
listeners: [{%s}, {%s, tls: {cert_file: %s, key_file: %s}}]
limits: {loops: %d}
drain: {timeout: 1s}
`, strings.Join(c.SentinelAddrs(), ", "), towards, towards, to, to, authority.File("server.pem"), authority.File("server.key"), cfg.Loops), nil)
	if err != nil {
		return nil, err
	}
	log := zerolog.New(zerolog.SyncWriter(cfg.Out)).Level(zerolog.ErrorLevel)
	group := sentinel.New(full.Sentinel, full.Failover, full.Masters(), full.Redis.TLS, log)
	p, err := proxy.New(full, group, log)
	if err != nil {
		return nil, err
	}
	watching, endWatching := context.WithCancel(context.Background())
	serving, endServing := context.WithCancel(context.Background())
	var watch, serve sync.WaitGroup
	watch.Go(func() { group.Run(watching) })
	serve.Go(func() { p.Run(serving) })
	f := &front{stats: p.Stats, trust: &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"}, stop: func() {
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
		l := f.stats().Listeners
		if l[0].Bound && l[1].Bound && tracker.View().Serving() {
			f.addr, f.safe = l[0].Address, l[1].Address
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("holdfast does not serve: bound %v and %v, %s", l[0].Bound, l[1].Bound, tracker.View().Reason), ctx.Err())
		}
	}
}
