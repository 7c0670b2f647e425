package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/pki"
)

// handshake is one that may fail; of the connection nothing is left then.
func (w *world) handshake(cfg *tls.Config) error {
	w.t.Helper()
	c := rawTo(w.t, w.addr)
	s := tls.Client(c.tcp(), cfg)
	s.SetDeadline(time.Now().Add(patience))
	defer c.close()
	if _, err := s.Write(command("PING")); err != nil {
		return err
	}
	// In TLS 1.3 a client has done its part before the server refuses it.
	_, err := io.ReadFull(s, make([]byte, len(pong)))
	return err
}

func (c *client) tcp() *net.TCPConn { return c.nc.tcp }

func (w *world) failures() uint64 { return w.p.Stats().Listeners[0].TLS.Failed }

// TestHandshakesThatFail harm nobody else, are counted and leave nothing behind.
func TestHandshakesThatFail(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	c := w.dial()
	c.want(pong, "PING")
	if err := w.handshake(&tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}); err == nil {
		t.Error("a client that does not trust the certificate goes on")
	}
	if err := w.handshake(&tls.Config{RootCAs: certificates().Pool(), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	plain := rawTo(t, w.addr)
	plain.cmd("PING")
	for plain.fill() == nil { // an alert
	}
	gone := rawTo(t, w.addr)
	gone.send("\x16\x03\x01")
	gone.reset()
	eventually(t, "all to be counted", func() bool { return w.failures() == 4 })
	eventually(t, "all to have gone", func() bool { return w.p.Stats().Clients == 1 })
	c.want(pong, "PING")
	if last := w.p.Stats().Listeners[0].TLS.Last; last == "" {
		t.Error("no reason is told")
	}
}

// TestSilentHandshakeIsBounded: a client that says nothing, or only half, is let
// go of in time, and does not hold up a drain either.
func TestSilentHandshakeIsBounded(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	silent := rawTo(t, w.addr)
	eventually(t, "the handshake to have begun", func() bool { return w.p.Stats().Clients == 1 })
	w.stop()
	silent.expectEnd()
	if n := w.failures(); n != 0 {
		t.Errorf("%d failures are counted in a drain", n)
	}

	k, err := newShaking(serverTLS(), w.p.log)
	if err != nil {
		t.Fatal(err)
	}
	k.limit = 50 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	half := rawTo(t, ln.Addr().String())
	half.send("\x16\x03\x01\x02\x00\x01")
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := dupConn(nc)
	if nc.Close(); err != nil {
		t.Fatal(err)
	}
	_, from, err := k.shake(t.Context(), fd)
	if from != half.nc.LocalAddr().String() {
		t.Errorf("the client is %q", from)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half a handshake: %v", err)
	}
	half.expectEnd()
}

// TestClientCertificates are demanded where the listener has authorities for them.
func TestClientCertificates(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS, func(cfg *config.Config) {
		cfg.Listeners[0].TLS.ClientCAFile = certificates().File("ca.pem")
	})
	if err := w.handshake(clientTLS()); err == nil {
		t.Error("a client without a certificate is let in")
	}
	stranger, err := pki.New(t.TempDir(), "stranger")
	if err == nil {
		err = stranger.Issue("client")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*pki.Authority{stranger, certificates()} {
		pair, err := tls.LoadX509KeyPair(a.File("client.pem"), a.File("client.key"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := clientTLS()
		// It is shown whatever authorities the server names.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		if err := w.handshake(cfg); (err == nil) != (a == certificates()) {
			t.Errorf("signed by a stranger: %v; refused: %v", a == stranger, err)
		}
	}
}

// TestCertificateIsRenewed without a restart; one that cannot be used is not taken.
func TestCertificateIsRenewed(t *testing.T) {
	a, err := pki.New(t.TempDir(), "ca")
	if err == nil {
		err = a.Issue("server")
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) {
		cfg.Listeners[0].TLS = config.ServerTLS{CertFile: a.File("server.pem"), KeyFile: a.File("server.key")}
	})
	trusting := &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"}
	shown := func() string {
		t.Helper()
		s, err := tls.Dial("tcp", w.addr, trusting)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := shown()
	if err := a.Issue("server"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new certificate", func() bool { return shown() != first })
	second := shown()
	if err := os.WriteFile(a.File("server.key"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := &certificate{files: w.p.listeners[0].cfg.TLS, log: w.p.log}
	if pair := cert.now(); pair != nil {
		t.Error("a key that is none is taken")
	}
	if shown() != second {
		t.Error("the certificate before is not in force any more")
	}
	fault := func() string { return w.p.Stats().Listeners[0].TLS.Fault }
	eventually(t, "the status to say so, with no client about", func() bool { return fault() != "" })
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := a.IssueUntil("server", expires); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the status to be content", func() bool {
		return fault() == "" && w.p.Stats().Listeners[0].TLS.Expires.Equal(expires)
	})
}

// TestExpiredCertificate is told at the start, and shown all the same.
func TestExpiredCertificate(t *testing.T) {
	a, err := pki.New(t.TempDir(), "ca")
	if err == nil {
		err = a.IssueUntil("server", time.Now().Add(-time.Minute))
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cert, err := newCertificate(config.ServerTLS{CertFile: a.File("server.pem"), KeyFile: a.File("server.key")}, zerolog.New(&out))
	if err != nil || cert.now() == nil || !strings.Contains(out.String(), "has expired") {
		t.Errorf("%v, and said is %q", err, out.String())
	}
}

// TestCommandBehindTheHandshake arrives in one piece with its end; no event will
// tell of it.
func TestCommandBehindTheHandshake(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := rawTo(t, w.addr)
		late := &together{Conn: c.tcp()}
		cfg := clientTLS()
		cfg.MinVersion, cfg.MaxVersion = version, version
		s := tls.Client(late, cfg)
		s.SetDeadline(time.Now().Add(patience))
		if version == tls.VersionTLS13 { // its client has the last word
			late.hold = 2
		}
		if err := s.Handshake(); err != nil {
			t.Fatal(err)
		}
		if version == tls.VersionTLS13 && late.held.Len() == 0 {
			t.Fatal("nothing was held back")
		}
		s.Write(command("ECHO", strings.Repeat("x", 20000)))
		late.release()
		got := make([]byte, len(bulk(strings.Repeat("x", 20000))))
		if _, err := io.ReadFull(s, got); err != nil {
			t.Fatalf("%x: %v", version, err)
		}
		c.close()
	}
}

// together keeps writes back from the hold-th on, until release.
type together struct {
	net.Conn
	hold, writes int
	held         bytes.Buffer
}

func (c *together) Write(b []byte) (int, error) {
	if c.writes++; c.hold > 0 && c.writes >= c.hold {
		return c.held.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *together) release() {
	c.hold = 0
	c.Conn.Write(c.held.Bytes())
}

// TestEndOfTLS: a client can tell an end from a cut, and what is no record ends
// only its own connection.
func TestEndOfTLS(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	polite, other := w.dial(), w.dial()
	other.want(pong, "PING")
	polite.want(ok, "QUIT")
	if n, err := polite.nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after QUIT: %d bytes, %v", n, err)
	}
	forger := w.dial()
	forger.want(pong, "PING")
	rogue := append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)
	if _, err := forger.tcp().Write(rogue); err != nil {
		t.Fatal(err)
	}
	_, err := forger.nc.Read(make([]byte, 1))
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("after a forged record: %v", err)
	}
	other.want(pong, "PING")
	eventually(t, "it to have gone", func() bool { return w.p.Stats().Clients == 1 })
}

// TestRecordsInPieces: a record may come byte by byte, and many in one piece.
func TestRecordsInPieces(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	c := rawTo(t, w.addr)
	wires := &together{Conn: c.tcp()}
	s := tls.Client(wires, clientTLS())
	s.SetDeadline(time.Now().Add(patience))
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	wires.hold, wires.writes = 1, 0
	for i := range 50 { // many records, of one command each
		s.Write(command("ECHO", fmt.Sprint(i)))
	}
	all := bytes.Clone(wires.held.Bytes())
	for len(all) > 0 {
		n := 1
		if len(all) < 1500 {
			n = len(all)
		}
		c.tcp().Write(all[:n])
		all = all[n:]
	}
	for i := range 50 {
		want := bulk(fmt.Sprint(i))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
			t.Fatalf("%d: %q, %v", i, got, err)
		}
	}
}

// TestOpenSSL is another implementation; it changes its keys and asks for ours to
// be changed, in the middle of everything.
func TestOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skipf("SKIPPED, not tested: %v", err)
	}
	w := newWorld(t, realRedis(t).Addr, overTLS)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, "s_client", version, "-connect", w.addr, "-CAfile", certificates().File("ca.pem"), "-verify_return_error")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			pipe, both := io.Pipe() // what is sent comes on one output, what it says itself on the other
			cmd.Stdout, cmd.Stderr = both, both
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				in.Close()
				go io.Copy(io.Discard, pipe)
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
				both.Close()
			}()
			out := &told{r: pipe}
			say := func(what, want string) {
				t.Helper()
				io.WriteString(in, what)
				if err := out.until(want); err != nil {
					t.Fatalf("%q: %v; told %q", what, err, out.all)
				}
			}
			say("ECHO one\n", "$3\r\none\r\n")
			if version == "-tls1_3" {
				say("K\n", "KEYUPDATE")
				say("ECHO two\n", "$3\r\ntwo\r\n")
				say("k\n", "KEYUPDATE")
			}
			say("ECHO three\n", "$5\r\nthree\r\n")
			say("quit\n", "+OK\r\n")
		})
	}
}

// told reads until something was said.
type told struct {
	r   io.Reader
	all []byte
}

func (o *told) until(want string) error {
	from := len(o.all)
	room := make([]byte, 4096)
	for !bytes.Contains(o.all[from:], []byte(want)) {
		n, err := o.r.Read(room)
		if o.all = append(o.all, room[:n]...); err != nil {
			return err
		}
	}
	return nil
}

// TestManyHandshakesAtOnce take their turns, and silent ones take none.
func TestManyHandshakesAtOnce(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, overTLS)
	k := w.p.listeners[0].shaking
	for range cap(k.slots) + 2 { // greeted, they say nothing more
		c := rawTo(t, w.addr)
		go tls.Client(&mute{Conn: c.tcp()}, clientTLS()).Handshake()
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if err := w.handshake(clientTLS()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(k.slots); n != 0 {
		t.Errorf("%d slots are not given back", n)
	}
	for range cap(k.slots) { // all are taken: a client waits until its time is over
		k.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := rawTo(t, w.addr)
	if err := tls.Client(c.tcp(), clientTLS()).HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a slot: %v", err)
	}
	for range cap(k.slots) {
		<-k.slots
	}
	w.dial().want(pong, "PING")
}

// mute writes but once.
type mute struct {
	net.Conn
	said atomic.Bool
}

func (c *mute) Write(b []byte) (int, error) {
	if c.said.Swap(true) {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
