package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/health"
	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

const aboutRun = `Serves until TERM or INT. The first one drains: virtual addresses are left to
another node, then there are no new clients, those that are at rest are let go,
the others have drain.timeout to get there. The second one ends everything at
once. HUP changes nothing: the configuration is read at the
start only.`

// serve is the command run.
func serve(ctx context.Context, args []string, out streams) int {
	set := flags("run [-c FILE]")
	file := set.String("c", "", fileFlag)
	if code, ok := parse(set, args, aboutRun, out); !ok {
		return code
	}
	cfg, ok := load(*file, out)
	if !ok {
		return misusage
	}
	log, closeLog := newLog(cfg.Log, out.err)
	defer closeLog()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Without this, a log collector that goes away takes the proxy with it: Go
	// ends a program whose stderr is a broken pipe.
	signal.Ignore(syscall.SIGPIPE)

	b := build()
	log.Info().Str("version", b.Version).Str("commit", b.Commit).Str("configuration", source(*file)).Msg("holdfast starts")
	if warning := descriptors(cfg.Limits); warning != "" {
		log.Warn().Msg(warning)
	}
	group := sentinel.New(cfg.Sentinel, cfg.Failover, cfg.Masters(), cfg.Redis.TLS, log)
	p, err := proxy.New(cfg, group, log)
	if err != nil {
		log.Error().Err(err).Msg("cannot serve")
		return failed
	}
	routers, err := vip.New(cfg.VIP, p.Leave, log)
	if err != nil {
		for fault := range strings.SplitSeq(err.Error(), "\n") {
			log.Error().Msg("cannot own virtual addresses: " + fault)
		}
		return failed
	}
	h := health.New(cfg.Health.Address, b, health.Below{
		Sentinel: group.Stats, Proxy: p.Stats, Routers: routers.Stats, Alive: p.Alive, Switchover: switcher(group, p),
	}, log)
	fitness := health.NewFitness(grace(cfg), group, p.Stats, p.Alive, routers.SetFitness)
	return house{cfg: cfg, group: group, proxy: p, routers: routers, fitness: fitness, health: h, log: log}.run(ctx, signals)
}

// grace is for how long a node without a master that is served may own addresses:
// as long as clients are made to wait for one, which covers a failover.
func grace(cfg *config.Config) time.Duration {
	return time.Duration(max(cfg.Hold.MaxWait, cfg.Failover.FenceTimeout))
}

// house is all that runs.
type house struct {
	cfg     *config.Config
	group   *sentinel.Group
	proxy   *proxy.Proxy
	routers *vip.Routers
	fitness *health.Fitness
	health  *health.Server
	log     zerolog.Logger
}

// yieldTime is how long the drain waits for the routers to release their addresses.
// They need a fifth of it; what may take longer are the notify commands.
const yieldTime = time.Second

// run returns when the routers have yielded, the proxy has drained and everything
// else has ended, or at once at the second signal.
func (h house) run(ctx context.Context, signals <-chan os.Signal) int {
	// Sentinels and health outlive the drain: its clients may have to go through
	// a failover, and /readyz is to say that it is on.
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var others sync.WaitGroup
	if h.cfg.Health.Address != "" {
		others.Go(func() { h.health.Run(lasting) })
	}
	others.Go(func() { h.group.Run(lasting) })

	// The addresses go first: whoever comes is to come to another node, and whoever
	// is here to know at once that it is over.
	owning, yield := context.WithCancel(ctx)
	defer yield()
	yielded := make(chan struct{})
	others.Go(func() { h.own(owning, yielded) })
	var overdue <-chan time.Time

	serving, drain := context.WithCancel(lasting)
	defer drain()
	drained := make(chan struct{})
	go h.carry(serving, drained)
	for {
		select {
		case <-yielded:
			yielded = nil
			drain()
		case <-overdue:
			drain()
		case <-drained:
			stop()
			others.Wait()
			h.log.Info().Msg("holdfast ends")
			return fine
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				h.log.Warn().Msg("HUP changes nothing: the configuration is read at the start only; restart to apply a change")
			case owning.Err() != nil:
				h.log.Warn().Stringer("signal", s).Msg("holdfast ends at once, at the second signal")
				return failed
			default:
				h.log.Info().Stringer("signal", s).Msg("holdfast drains; a second signal ends it at once")
				yield()
				overdue = time.After(yieldTime)
			}
		}
	}
}

// own is the goroutine of the virtual addresses. It ends when they are released,
// and the notify commands have ended.
func (h house) own(ctx context.Context, yielded chan<- struct{}) {
	defer close(yielded)
	var judging sync.WaitGroup
	if len(h.cfg.VIP) > 0 {
		judging.Go(func() { h.fitness.Run(ctx) })
	}
	h.routers.Run(ctx)
	judging.Wait()
}

// carry is the goroutine of the data path. It ends when the proxy has drained.
func (h house) carry(ctx context.Context, drained chan<- struct{}) {
	defer close(drained)
	h.proxy.Run(ctx)
}
