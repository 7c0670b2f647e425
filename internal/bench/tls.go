//go:build linux

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"holdfast/internal/pki"
)

// In the classes of TLS all endpoints prove themselves with one certificate and
// work with one cipher: what is compared is who does it, not what is done. Of Go's
// servers a client gets this cipher by naming it first, as Go's clients do where
// the processor knows AES; the others are told.
const (
	tlsVersion = tls.VersionTLS13
	tlsCipher  = tls.TLS_AES_128_GCM_SHA256
)

// identity is the certificate of all endpoints.
type identity struct {
	cert, key string      // PEM files
	both      string      // one file with the two, as HAProxy wants it
	client    *tls.Config // trusts it, and nothing else
}

func newIdentity(dir string) (*identity, error) {
	ca, err := pki.New(dir, "ca")
	if err != nil {
		return nil, err
	}
	if err := ca.Issue("server"); err != nil {
		return nil, err
	}
	id := &identity{cert: ca.File("server.pem"), key: ca.File("server.key"), both: ca.File("both.pem")}
	id.client = &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MinVersion: tlsVersion}
	cert, err := os.ReadFile(id.cert)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(id.key)
	if err != nil {
		return nil, err
	}
	return id, os.WriteFile(id.both, slices.Concat(cert, key), 0o600)
}

// sealed is a TLS connection. crypto/tls works on the blocking socket until
// detach, and from then on between two buffers in memory: the generator reads and
// writes the descriptor itself, as it does in the clear. What makes that possible
// is that a read of a tls.Conn that has timed out may be repeated.
type sealed struct {
	conn *tls.Conn
	wire wire
}

// wire is what a tls.Conn takes for its connection.
type wire struct {
	net.Conn // nil: nothing is called but Read and Write
	socket   socket
	detached bool
	in       []byte // was received, and conn has not taken it
	out      []byte // conn made it
}

func (w *wire) Read(p []byte) (int, error) {
	if !w.detached {
		return w.socket.Read(p)
	}
	if len(w.in) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.detached {
		return w.socket.Write(p)
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// handshake begins TLS on a blocking socket, and holds that what was agreed on is
// what is to be measured.
func handshake(s socket, conf *tls.Config) (*sealed, error) {
	t := &sealed{wire: wire{socket: s}}
	t.conn = tls.Client(&t.wire, conf)
	if err := t.conn.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, agreed(t.conn.ConnectionState())
}

func agreed(s tls.ConnectionState) error {
	if s.Version != tlsVersion || s.CipherSuite != tlsCipher {
		return fmt.Errorf("TLS: agreed on %s and %s, not on %s and %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite),
			tls.VersionName(tlsVersion), tls.CipherSuiteName(tlsCipher))
	}
	return nil
}

// detach leaves the socket to the caller.
func (t *sealed) detach() { t.wire.detached = true }

// seal makes records of p, valid until the next call.
func (t *sealed) seal(p []byte) []byte {
	t.wire.out = t.wire.out[:0]
	t.conn.Write(p) // fails only once unseal has
	return t.wire.out
}

// unseal puts the content of received records into buf, and is io.EOF when the
// peer has said that no more will come. The beginning of a record stays in conn.
func (t *sealed) unseal(received, buf []byte) (n int, err error) {
	t.wire.in = received
	for n < len(buf) {
		k, err := t.conn.Read(buf[n:])
		n += k
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, io.ErrShortBuffer // see recordsRoom
}

// recordsRoom is how much one read takes in TLS: less than there is room for its
// content, by far more than the one record whose beginning conn may hold.
const recordsRoom = readRoom / 2
