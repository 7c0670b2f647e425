// Package health shows what the floors below know: probes for machines, metrics
// for graphs, a status for scripts and a page for people.
//
// Whoever asks changes nothing but by the one request for a switchover, which it
// passes on. Everything it shows comes from snapshots, so a slow or hostile reader
// costs the data path nothing; how many there are, how long they take and how much
// they send is bounded. It answers from the first moment of the process to the
// last, and never ends it: an address in use is tried again.
//
// It decides one thing, because it alone sees what that takes: whether this node is
// fit to own the virtual addresses.
package health

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

// Build says which program this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Below is where the snapshots of the floors below come from. The functions
// are called from many goroutines.
type Below struct {
	Sentinel func() sentinel.Stats
	Proxy    func() proxy.Stats
	Routers  func() []vip.Stats
	// Alive returns once every loop has answered, with an error if one does not
	// before the context ends. It may block that long.
	Alive func(context.Context) error
	// Switchover runs one and returns when it is over and what it changed is put
	// back. It is given no Drain.
	Switchover func(context.Context, sentinel.Switchover) error
}

// Server answers on health.address.
type Server struct {
	address string
	build   Build
	below   Below
	log     zerolog.Logger
	since   time.Time
	routes  http.Handler
	conns   atomic.Int64

	switching sync.WaitGroup         // switchovers under way; Run waits for them
	bound     atomic.Pointer[string] // the address while it listens
}

// New makes a server for address. It opens nothing yet.
func New(address string, build Build, below Below, log zerolog.Logger) *Server {
	s := &Server{address: address, build: build, below: below, log: log, since: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("POST /switchover", s.switchover)
	s.routes = mux
	return s
}

// What one reader may take. A scrape or a probe takes milliseconds and comes
// every few seconds on a connection that is kept.
const (
	mostConns     = 256
	mostHeader    = 16 << 10 // bytes
	exchangeTime  = 10 * time.Second
	idleTime      = 2 * time.Minute
	goodbye       = time.Second
	relisten      = time.Second
	repeatTrouble = time.Minute
)

// Run answers until ctx ends, and returns when nothing of it is left.
func (s *Server) Run(ctx context.Context) {
	defer s.switching.Wait()
	var said time.Time
	for {
		err := s.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(said) >= repeatTrouble {
			said = time.Now()
			s.log.Error().Str("address", s.address).Str("why", err.Error()).
				Msg("no probes, metrics and status; choose another health.address or free this one (trying again)")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(relisten):
		}
	}
}

// listen serves until ctx ends or the listener fails.
func (s *Server) listen(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	s.bound.Store(&addr)
	defer s.bound.Store(nil)
	s.log.Info().Str("address", addr).Msg("probes, metrics and status are served")
	server := &http.Server{
		Handler:        s.routes,
		BaseContext:    within(ctx),
		ReadTimeout:    exchangeTime,
		WriteTimeout:   exchangeTime,
		IdleTimeout:    idleTime,
		MaxHeaderBytes: mostHeader,
		ConnState:      s.count,
		ErrorLog:       log.New(s.log, "", 0),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { end(server, ended) })
	err = server.Serve(ln)
	if stop() {
		return errors.Join(err, server.Close())
	}
	<-ended
	return err
}

// end lets the answers under way leave. It runs on a goroutine of its own,
// started when the context of listen ends.
func end(server *http.Server, ended chan<- struct{}) {
	defer close(ended)
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // whoever is still there had his time
	}
}

// count closes whoever comes when there are too many: descriptors belong to the
// data path first.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > mostConns {
			_ = c.Close()
		}
	case http.StateClosed:
		s.conns.Add(-1)
	}
}
