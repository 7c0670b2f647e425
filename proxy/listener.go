package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/config"
)

// listener is one address that applications connect to.
type listener struct {
	p       *Proxy
	cfg     config.Listener
	redis   config.Login
	master  *master
	tunnel  bool
	shared  bool
	roams   bool     // its address is a virtual one, which is not here before it is owned
	shaking *shaking // nil: clients are spoken to in the clear
	clients atomic.Int64
	bound   atomic.Pointer[string] // the address, while it accepts
	fault   atomic.Pointer[string] // why it does not
}

func newListener(p *Proxy, cfg config.Listener, redis config.Login, m *master) *listener {
	return &listener{p: p, cfg: cfg, redis: redis, master: m, tunnel: cfg.Mode == config.Tunnel, shared: cfg.Mode == config.Shared}
}

// roams tells whether the address is one that the virtual routers move about.
func roams(address string, instances []config.VIP) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && slices.ContainsFunc(instances, func(v config.VIP) bool {
		return slices.Contains(v.Addresses, at.Addr())
	})
}

// login is who this listener's upstreams log in as before their client does:
// holdfast itself when clients are trusted or have shown the listener's
// password, else nobody.
func (on *listener) login() config.Login {
	if on.cfg.Trust || on.cfg.Password != "" {
		return on.redis
	}
	return config.Login{}
}

// rebind is how long a listener waits before it tries its address again.
const rebind = time.Second

// serve accepts until ctx ends. An address that cannot be bound is tried again:
// it may be another's that is about to go.
func (on *listener) serve(ctx context.Context) {
	defer on.shaking.wait()
	said := time.Time{}
	for ctx.Err() == nil {
		lc := net.ListenConfig{}
		if on.roams {
			lc.Control = bindFree
		}
		ln, err := lc.Listen(ctx, "tcp", on.cfg.Address)
		if err == nil {
			err = on.accept(ctx, ln.(*net.TCPListener))
			ln.Close()
			on.bound.Store(nil)
		}
		if ctx.Err() != nil {
			return
		}
		why := err.Error()
		on.fault.Store(&why)
		if time.Since(said) >= repeatTrouble {
			said = time.Now()
			on.p.log.Error().Str("address", on.cfg.Address).Str("why", why).
				Msg("cannot listen; choose another listeners[].address or free this one (trying again)")
		}
		select {
		case <-ctx.Done():
		case <-time.After(rebind):
		}
	}
}

func (on *listener) accept(ctx context.Context, ln *net.TCPListener) error {
	// A net.Listener would make a net.Conn, with its entry in the runtime's
	// poller, of what a loop wants as a bare descriptor.
	f, err := ln.File()
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	on.bound.Store(&addr)
	on.fault.Store(nil)
	on.p.log.Info().Str("address", addr).Str("master", on.master.name).Str("mode", string(on.cfg.Mode)).Msg("listening")
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	pause := time.Duration(0)
	for {
		var fd int
		var aerr error
		err := raw.Read(func(lfd uintptr) bool {
			fd, aerr = rawAccept(int(lfd))
			return aerr != syscall.EAGAIN
		})
		switch {
		case err != nil:
			return err
		case aerr == nil:
			pause = 0
			on.welcome(ctx, fd)
		case errors.Is(aerr, syscall.ECONNABORTED) || errors.Is(aerr, syscall.EINTR):
		default:
			// Out of descriptors or memory: back off as net/http does.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			on.p.log.Warn().Str("address", addr).Str("why", aerr.Error()).Msg("cannot accept")
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// welcome hands a client to the next loop, or turns it away with Redis' words;
// in TLS it would not understand them yet.
func (on *listener) welcome(ctx context.Context, fd int) {
	p := on.p
	p.accepted.Add(1)
	if p.clients.Add(1) > p.maxClients {
		p.turnedAway.Add(1)
		if on.shaking == nil {
			rawWrite(fd, []byte("-ERR max number of clients reached\r\n"))
		}
		on.turnAway(fd)
		return
	}
	if on.shaking == nil {
		on.hand(guest{fd: fd})
		return
	}
	on.shaking.begin(ctx, on, fd)
}

// guest is a client that no loop has yet.
type guest struct {
	fd    int
	tls   *secure // nil: it is spoken to in the clear
	early []byte  // what it has said already
}

// hand gives a client to the next loop.
func (on *listener) hand(g guest) {
	tune(g.fd)
	p := on.p
	l := p.loops[int(p.next.Add(1))%len(p.loops)]
	if !l.post(func(l *loop) { l.open(g, on) }) {
		on.turnAway(g.fd)
	}
}

func (on *listener) turnAway(fd int) {
	on.p.clients.Add(-1)
	closeFD(fd)
}

func (on *listener) stats() ListenerStats {
	st := ListenerStats{Address: on.cfg.Address, Master: on.master.name, Mode: string(on.cfg.Mode), Clients: int(on.clients.Load())}
	if a := on.bound.Load(); a != nil {
		st.Address, st.Bound = *a, true
	}
	if why := on.fault.Load(); why != nil {
		st.Error = *why
	}
	st.TLS = on.shaking.stats()
	return st
}
