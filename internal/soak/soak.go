// Package soak looks for the worst thing that a multiplexer can do: to give one
// client the reply of another. Many clients do all that clients do, good manners
// and bad, through a proxy in front of a real cluster whose master changes, and
// check every reply against what they alone can expect.
//
// Its invariants: whatever a client stores, asks to be echoed or calls its own
// carries its mark, so that a foreign byte is known wherever it turns up; what it
// expects is the whole frame, byte for byte, before the command is sent; a
// command is sent once, and after an outcome that nobody knows the client goes on
// with fresh keys, so that nothing late can be taken for a mistake.
package soak

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/config"
	"holdfast/internal/pki"
	"holdfast/internal/redistest"
	"holdfast/proxy"
)

// Config says what to run.
type Config struct {
	Duration time.Duration // how long the clients go on
	Clients  int
	Seed     uint64        // the same seed makes the same clients, if not the same order of events
	Fault    time.Duration // between two faults; 0: none
	Mode     config.Mode   // of holdfast's listener; "": shared
	Loops    int           // of holdfast; 0: its own default
	TLS      bool          // the nodes and Sentinels speak nothing else; a quarter of the clients does so always
	Patience time.Duration // for one reply; 0: 45 s, more than holdfast may hold it
	Line     time.Duration // between two lines of progress; 0: 10 s
	Out      io.Writer     // progress, and what did not fit
}

const (
	defaultPatience = 45 * time.Second
	defaultLine     = 10 * time.Second
	// mostMismatches are told in full; after that it is clear that something is
	// wrong, and the run ends.
	mostMismatches = 10
)

func (cfg Config) withDefaults() Config {
	if cfg.Mode == "" {
		cfg.Mode = config.Shared
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Line == 0 {
		cfg.Line = defaultLine
	}
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	return cfg
}

// Report is what came of a run.
type Report struct {
	Commands   uint64 // that were answered, and the answer judged
	Bytes      uint64 // of answers
	Came, Gone uint64 // connections of clients
	Cut        uint64 // of these, ended by the proxy while a fault was about
	Unknown    uint64 // commands answered with UNCERTAIN or MASTERDOWN
	Lost       uint64 // times that a client found, after a failover, that what was acknowledged before is missing
	Failovers  int
	Kills      int      // of all connections of the master
	Stalls     int      // of the master, for a moment
	Mismatches []string // what did not fit, with what the client had done before
	Proxy      proxy.Stats
}

// OK says whether every reply was what its client alone could expect.
func (r *Report) OK() bool { return len(r.Mismatches) == 0 }

// run is what all clients of one run share.
type run struct {
	Config
	addr  string
	front *front // nil: it is no holdfast that the clients are judged by
	stop  chan struct{}
	ended sync.Once

	commands, bytes, came, gone, cut, unknown, lost atomic.Uint64

	// faults counts the beginnings and the ends of faults: odd while one is about.
	faults atomic.Int64

	mu         sync.Mutex // guards what follows
	mismatches []string
	seen       int
}

func newRun(cfg Config, addr string) *run {
	return &run{Config: cfg.withDefaults(), addr: addr, stop: make(chan struct{})}
}

// Run soaks holdfast, in this process, in front of a cluster of its own. An error
// means that there is no report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	dir, err := os.MkdirTemp("", "holdfast-soak-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	authority, err := pki.New(dir, "ca")
	if err == nil {
		err = authority.Issue("server")
	}
	if err != nil {
		return nil, err
	}
	if cfg.TLS {
		redistest.TLS = authority
		defer func() { redistest.TLS = nil }()
	}
	c, err := redistest.Start(ctx, redistest.Options{Replicas: 2, Sentinels: 3})
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	if err := introduceUsers(ctx, c); err != nil {
		return nil, err
	}
	f, err := startFront(ctx, c, cfg.withDefaults(), authority)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	r := newRun(cfg, f.addr)
	r.front = f
	rep := &Report{}
	var faults sync.WaitGroup
	faulty, calm := context.WithCancel(ctx)
	if cfg.Fault > 0 {
		faults.Go(func() { r.fail(faulty, c, rep) })
	}
	r.clients(ctx, f.stats)
	calm()
	faults.Wait()
	r.report(rep)
	rep.Proxy = f.stats()
	if n := rep.Proxy.Masters[0].Unexpected; n > 0 {
		rep.Mismatches = append(rep.Mismatches, fmt.Sprintf("the proxy itself counts %d replies that nobody waited for", n))
	}
	return rep, nil
}

// clients has all of them at work until the time is over, ctx ends, or enough has
// gone wrong; progress is told on the way.
func (r *run) clients(ctx context.Context, stats func() proxy.Stats) {
	var all sync.WaitGroup
	for i := range r.Clients {
		all.Go(func() { newClient(r, i).live() })
	}
	end := time.After(r.Duration)
	tick := time.NewTicker(r.Line)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-tick.C:
			r.progress(time.Since(began), stats())
			continue
		case <-end:
			r.end()
		case <-ctx.Done():
			r.end()
		case <-r.stop:
		}
		break
	}
	all.Wait()
}

func (r *run) end() { r.ended.Do(func() { close(r.stop) }) }

// over says whether the clients are to end.
func (r *run) over() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// mismatch notes what did not fit.
func (r *run) mismatch(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen++; r.seen <= mostMismatches {
		r.mismatches = append(r.mismatches, what)
		fmt.Fprintf(r.Out, "MISMATCH %s\n", what)
	}
	if r.seen >= mostMismatches {
		r.end()
	}
}

// loss notes an acknowledged write that is missing after a failover. It is no
// mismatch: every byte was the client's own. How much a failover may lose, and
// that a fenced one loses nothing on a machine that is not starved, is the chaos
// package's to judge.
func (r *run) loss(what string) {
	if r.lost.Add(1) <= mostMismatches {
		fmt.Fprintf(r.Out, "LOST %s\n", what)
	}
}

func (r *run) wrong() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (r *run) report(to *Report) {
	to.Commands, to.Bytes, to.Came, to.Gone = r.commands.Load(), r.bytes.Load(), r.came.Load(), r.gone.Load()
	to.Cut, to.Unknown, to.Lost = r.cut.Load(), r.unknown.Load(), r.lost.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	to.Mismatches = r.mismatches
}
