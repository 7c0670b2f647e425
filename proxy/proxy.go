// Package proxy moves bytes between clients and the proven master.
//
// Goroutines prepare connections; loops move bytes. Each loop owns its clients
// and its upstreams outright, so there is no lock, no channel and no allocation
// on the path. What holds always:
//
//   - An upstream belongs to one View; nothing is written to it after that View
//     is superseded (flush looks at the tracker before each write).
//   - Replies leave in the order of requests, made-up ones included.
//   - accepted = answered + refused + cut + in flight.
//   - Only acknowledged state is replayed.
//   - A command is sent twice only when it is provably not executed, or
//     read-only.
package proxy

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/sentinel"
)

// Proxy is the data path: listeners, loops and what they share.
type Proxy struct {
	log       zerolog.Logger
	masters   []*master
	listeners []*listener
	loops     []*loop

	nodes        config.ClientTLS
	maxWait      time.Duration
	timeout      time.Duration // for one dial
	drainTime    time.Duration
	holdBytes    int // per loop
	unreadBytes  int // per loop: kept for clients that do not read
	clientBuffer int
	replayBytes  int
	maxClients   int64

	next       atomic.Uint32 // loop for the next client
	draining   atomic.Bool
	clients    atomic.Int64
	upstreams  atomic.Int64
	shared     atomic.Int64 // of these
	accepted   atomic.Uint64
	turnedAway atomic.Uint64
	running    sync.WaitGroup
}

// master is one master name as all loops share it.
type master struct {
	name    string
	index   int
	tracker *sentinel.Tracker
	table   atomic.Pointer[table]
	first   sync.Mutex // held by the first to prepare an upstream under a View
	scripts scripts
	waiting atomic.Int64

	mu      sync.Mutex // guards what follows
	trouble trouble
	carried []Carried // the last ten, oldest first
}

// New makes the data path from a checked configuration. It opens nothing yet;
// it fails where there is no epoll, and when a TLS file has gone since it was checked.
func New(cfg *config.Config, group *sentinel.Group, log zerolog.Logger) (*Proxy, error) {
	p := &Proxy{
		log:          log,
		nodes:        cfg.Redis.TLS,
		maxWait:      time.Duration(cfg.Hold.MaxWait),
		timeout:      time.Duration(cfg.Sentinel.Timeout),
		drainTime:    time.Duration(cfg.Drain.Timeout),
		clientBuffer: int(cfg.Limits.ClientBuffer),
		replayBytes:  int(cfg.Limits.ReplayBytes),
		maxClients:   int64(cfg.Limits.MaxClients),
	}
	byName := map[string]*master{}
	for _, lc := range cfg.Listeners {
		m := byName[lc.Master]
		if m == nil {
			m = &master{name: lc.Master, index: len(p.masters), tracker: group.Tracker(lc.Master)}
			byName[lc.Master] = m
			p.masters = append(p.masters, m)
		}
		on := newListener(p, lc, cfg.LoginFor(lc), m)
		on.roams = roams(lc.Address, cfg.VIP)
		var err error
		if on.shaking, err = newShaking(lc.TLS, log); err != nil {
			return nil, fmt.Errorf("listener %s: %w", lc.Address, err)
		}
		p.listeners = append(p.listeners, on)
	}
	loops := loopCount(cfg.Limits.Loops)
	p.holdBytes = int(cfg.Hold.MaxBytes) / loops
	p.unreadBytes = max(p.holdBytes, p.mostUnread())
	for range loops {
		l, err := newLoop(p)
		if err != nil {
			return nil, err
		}
		p.loops = append(p.loops, l)
	}
	return p, nil
}

// loopCount: a second loop costs batches and wake-ups, so up to three cores
// there is one, then half of them, at most four.
func loopCount(configured int) int {
	if configured > 0 {
		return configured
	}
	n := runtime.GOMAXPROCS(0)
	if n <= 3 {
		return 1
	}
	return min(n/2, 4)
}

// Run serves until ctx ends, then drains: it stops accepting, lets each client
// reach a point of rest and ends it there, and ends the others when
// drain.timeout has passed. It returns when all that it started has ended.
func (p *Proxy) Run(ctx context.Context) {
	following, stop := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	for _, m := range p.masters {
		helpers.Go(func() { p.follow(following, m) })
	}
	for _, l := range p.loops {
		p.running.Go(l.run)
	}
	var accepting sync.WaitGroup
	for _, on := range p.listeners {
		accepting.Go(func() { on.serve(ctx) })
	}
	<-ctx.Done()
	p.draining.Store(true)
	accepting.Wait()
	deadline := time.Now().Add(p.drainTime)
	p.log.Info().Int64("clients", p.clients.Load()).Str("within", p.drainTime.String()).Msg("draining")
	for _, l := range p.loops {
		l.post(func(l *loop) { l.drain(deadline) })
	}
	p.running.Wait()
	stop()
	helpers.Wait()
	p.log.Info().Msg("drained")
}

// repeatTrouble is how often the same trouble is logged again.
const repeatTrouble = 30 * time.Second

// trouble is why clients cannot be attached to a master.
type trouble struct {
	why  string         // "": they can be
	view *sentinel.View // whose master it is about

	said  string    // what was last logged
	at    time.Time // and when
	loose bool      // that it is over was not logged since
}

// troubled notes why an upstream could not be prepared; logged when it is new
// and then seldom.
func (m *master) troubled(log zerolog.Logger, v *sentinel.View, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.trouble
	t.why, t.view = why, v
	if said := v.Master + ": " + why; t.said != said || time.Since(t.at) >= repeatTrouble {
		t.said, t.at, t.loose = said, time.Now(), true
		log.Warn().Str("master", m.name).Str("node", v.Master).Str("why", why).Msg("cannot attach clients to the master; they wait")
	}
}

// atEase notes that an upstream could be prepared again.
func (m *master) atEase(log zerolog.Logger, node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.trouble
	if t.why = ""; t.loose {
		t.loose = false
		log.Info().Str("master", m.name).Str("node", node).Msg("clients are attached to the master again")
	}
}

// now is the trouble with the master of this View, "" if there is none: of one that
// was left it does not matter.
func (t trouble) now(v *sentinel.View) string {
	if t.why == "" || t.view != v {
		return ""
	}
	return t.view.Master + ": " + t.why
}
