package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/health"
	"holdfast/proxy"
	"holdfast/sentinel"
)

const aboutRun = `Serves until TERM or INT. The first one drains: no new clients, those that are
at rest are let go, the others have drain.timeout to get there. The second one
ends everything at once. HUP changes nothing: the configuration is read at the
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
	group := sentinel.New(cfg.Sentinel, cfg.Failover, cfg.Masters(), log)
	p, err := proxy.New(cfg, group, log)
	if err != nil {
		log.Error().Err(err).Msg("cannot serve")
		return failed
	}
	h := health.New(cfg.Health.Address, b, health.Below{
		Sentinel: group.Stats, Proxy: p.Stats, Alive: p.Alive, Switchover: switcher(group, p),
	}, log)
	return house{cfg: cfg, group: group, proxy: p, health: h, log: log}.run(ctx, signals)
}

// house is all that runs.
type house struct {
	cfg    *config.Config
	group  *sentinel.Group
	proxy  *proxy.Proxy
	health *health.Server
	log    zerolog.Logger
}

// run returns when the proxy has drained and everything else has ended, or at
// once at the second signal.
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

	serving, drain := context.WithCancel(ctx)
	defer drain()
	drained := make(chan struct{})
	go h.carry(serving, drained)
	for {
		select {
		case <-drained:
			stop()
			others.Wait()
			h.log.Info().Msg("holdfast ends")
			return fine
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				h.log.Warn().Msg("HUP changes nothing: the configuration is read at the start only; restart to apply a change")
			case serving.Err() != nil:
				h.log.Warn().Stringer("signal", s).Msg("holdfast ends at once, at the second signal")
				return failed
			default:
				h.log.Info().Stringer("signal", s).Msg("holdfast drains; a second signal ends it at once")
				drain()
			}
		}
	}
}

// carry is the goroutine of the data path. It ends when the proxy has drained.
func (h house) carry(ctx context.Context, drained chan<- struct{}) {
	defer close(drained)
	h.proxy.Run(ctx)
}
