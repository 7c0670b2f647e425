package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// shaking is the TLS handshakes of one listener: each on a goroutine of its own,
// since it waits for its client and calculates for a millisecond, and a loop does
// neither. There are no more of them than limits.max_clients.
type shaking struct {
	cfg   *tls.Config
	cert  *certificate
	under sync.WaitGroup
	limit time.Duration // for one
	slots chan struct{} // as many may calculate at a time

	mu     sync.Mutex // guards what follows
	failed TLS
	said   time.Time // when a failure was last logged
}

// shakeTime is how long a handshake may take.
const shakeTime = 10 * time.Second

// newShaking fails if the listener's files cannot be used.
func newShaking(files config.ServerTLS, log zerolog.Logger) (*shaking, error) {
	if !files.On() {
		return nil, nil
	}
	cert, err := newCertificate(files, log)
	if err != nil {
		return nil, err
	}
	authorities, err := files.ClientCAs()
	if err != nil {
		return nil, err
	}
	k := &shaking{cert: cert, limit: shakeTime, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	k.cfg = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: k.turn,
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.now(), nil },
		// Whole records from the first: a reply is wanted in one piece.
		DynamicRecordSizingDisabled: true,
	}
	if authorities != nil {
		k.cfg.ClientCAs, k.cfg.ClientAuth = authorities, tls.RequireAndVerifyClientCert
	}
	return k, nil
}

// turn waits, when a client's greeting is there, until few others calculate. When
// ten thousand clients come at once, the loops would else stand behind them all in
// the scheduler's queue, and the clients that are served behind the loops.
func (k *shaking) turn(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	select {
	case k.slots <- struct{}{}:
		hello.Conn.(*wire).slot = k.slots
		return nil, nil
	case <-hello.Context().Done():
		return nil, fmt.Errorf("%d handshakes at a time are calculated, and its turn did not come: %w", cap(k.slots), hello.Context().Err())
	}
}

// calculated gives the slot back: with the server's part of a handshake, when that
// is written, or with its end. What follows costs little, and may have to wait.
func (w *wire) calculated() {
	if w.slot != nil {
		<-w.slot
		w.slot = nil
	}
}

// begin shakes hands with a client and gives it to a loop, within shakeTime and
// not beyond ctx.
func (k *shaking) begin(ctx context.Context, on *listener, fd int) {
	k.under.Go(func() {
		g, from, err := k.shake(ctx, fd)
		if err == nil {
			on.hand(g)
			return
		}
		on.p.clients.Add(-1)
		if ctx.Err() == nil {
			k.fail(on, from, err)
		}
	})
}

// shake owns fd: it gives back another for the same connection, or closes both.
// from is the client's address, as far as it is known.
func (k *shaking) shake(ctx context.Context, fd int) (g guest, from string, err error) {
	f := os.NewFile(uintptr(fd), "client")
	nc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return g, "", err
	}
	defer nc.Close()
	if addr := nc.RemoteAddr(); addr != nil {
		from = addr.String()
	}
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	t := &secure{wire: wire{Conn: nc}}
	t.conn = tls.Server(&t.wire, k.cfg)
	err = t.conn.HandshakeContext(ctx)
	t.wire.calculated()
	if err != nil {
		return g, from, err
	}
	if g.early, err = t.detach(); err != nil {
		return g, from, err
	}
	g.tls = t
	g.fd, err = dupConn(nc)
	return g, from, err
}

// fail counts a handshake that came to nothing and logs why, seldom: anybody who
// reaches the port can make it fail.
func (k *shaking) fail(on *listener, from string, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed.Failed++
	k.failed.Last = why.Error()
	if time.Since(k.said) < repeatTrouble {
		return
	}
	k.said = time.Now()
	on.p.log.Warn().Str("address", on.cfg.Address).Str("client", from).Str("why", k.failed.Last).Uint64("failed_so_far", k.failed.Failed).
		Msg("a client's TLS handshake has failed")
}

func (k *shaking) stats() *TLS {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.failed
	st.Expires, st.Fault = k.cert.state()
	return &st
}

// wait returns when no handshake is under way.
func (k *shaking) wait() {
	if k != nil {
		k.under.Wait()
	}
}
