package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/pki"
)

// speaking is the configuration of TLS to servers of an authority.
func speaking(t *testing.T, a *pki.Authority) config.ClientTLS {
	t.Helper()
	to, err := a.Trusting()
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// answering is a server that does the same with every connection.
func answering(t *testing.T, do func(*net.TCPConn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			do(c.(*net.TCPConn))
			c.Close()
		}
	}()
	return ln.Addr().String()
}

// TestProbeWithoutTLS: what is said of a node with which no TLS can be agreed on,
// or that wants it and is spoken to in the clear. One that accepts connections is
// there: a master that has too many clients is no reason for them to wait.
func TestProbeWithoutTLS(t *testing.T) {
	a, err := pki.New(t.TempDir(), "ca")
	for name, expires := range map[string]time.Time{"server": time.Now().Add(time.Hour), "old": time.Now().Add(-time.Minute)} {
		if err == nil {
			err = a.IssueUntil(name, expires)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	serve := func(name string, demand tls.ClientAuthType) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			pair, _ := tls.LoadX509KeyPair(a.File(name+".pem"), a.File(name+".key"))
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: demand, ClientCAs: a.Pool()})
			s.SetDeadline(time.Now().Add(time.Second))
			s.Handshake()
		}
	}
	reset := func(c *net.TCPConn) { c.SetLinger(0) }
	const toldTLS, askedTLS = "(does it want TLS? redis.tls)", "(does it speak TLS? redis.tls)"
	for _, c := range []struct {
		name    string
		secured bool
		do      func(*net.TCPConn)
		want    verdict
		why     string
	}{
		{"closed before the handshake", true, func(*net.TCPConn) {}, isMute, "too many clients"},
		{"reset before the handshake", true, reset, isMute, "too many clients"},
		{"reset within the handshake", true, func(c *net.TCPConn) { c.Read(make([]byte, 1)); reset(c) }, isMute, "too many clients"},
		{"reset behind the handshake", true, func(c *net.TCPConn) { serve("server", tls.NoClientCert)(c); reset(c) }, isMute, "another certificate"},
		{"it wants a certificate", true, serve("server", tls.RequireAndVerifyClientCert), isMute, "certificate"},
		{"an expired certificate", true, serve("old", tls.NoClientCert), isMute, "is valid from"},
		{"it speaks none, and waits", true, func(c *net.TCPConn) { io.Copy(io.Discard, c) }, isSilent, askedTLS},
		{"it speaks none, and says so", true, func(c *net.TCPConn) { io.WriteString(c, "-ERR unknown command\r\n"); io.Copy(io.Discard, c) }, isMute, askedTLS},
		{"it speaks TLS, we do not", false, serve("server", tls.NoClientCert), isGone, toldTLS},
		{"closed, in the clear", false, func(*net.TCPConn) {}, isGone, toldTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := prober{outside: dialer(), timeout: 300 * time.Millisecond}
			p.outside.key = "redis.tls"
			if c.secured {
				p.outside.tls = speaking(t, a)
			}
			got := p.ask(t.Context(), answering(t, c.do))
			if got.verdict != c.want || !strings.Contains(got.why, c.why) || strings.Contains(got.why, "current time") {
				t.Errorf("%s: %q, not %s: %q", got.verdict, got.why, c.want, c.why)
			}
		})
	}
}

// A Sentinel's trouble names the key of Sentinels.
func TestSentinelWithoutTLS(t *testing.T) {
	o := dialer()
	o.key = "sentinel.tls"
	addr := answering(t, func(*net.TCPConn) {})
	link, err := connect(t.Context(), o, addr, config.Login{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	if err = link.Ping(t.Context()).Err(); err == nil || !strings.Contains(explain(err), "(does it want TLS? sentinel.tls)") {
		t.Errorf("%v", err)
	}
	var secured config.ClientTLS
	secured.Enabled = true
	if text := explain(Unheard(secured, o.key, context.DeadlineExceeded)); text != "no answer in time (does it speak TLS? sentinel.tls)" {
		t.Error(text)
	}
}

// What is asked for its role in order to serve and does not answer is told, loudly.
func TestUnreachedIsTold(t *testing.T) {
	for _, v := range []verdict{isGone, isSilent, isMute} {
		m := newMachine("mymaster", rules{timeout: time.Second, pollInterval: time.Second}, time.Unix(1e9, 0))
		m.addr = "a"
		m.decide()
		m.prove(m.now, proof{addr: "a", asked: m.now, heard: m.now, verdict: v, why: "no word"})
		if len(m.notes) != 1 || !m.notes[0].loud || m.notes[0].text != "no word" {
			t.Errorf("%s: %+v", v, m.notes)
		}
	}
}

// The words of one trouble are the same each time, or it would be logged each time.
func TestBare(t *testing.T) {
	cause := errors.New("reset")
	read := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 50123}, Err: cause}
	if got := Bare(fmt.Errorf("wrapped: %w", read)); got != cause {
		t.Errorf("%v", got)
	}
	alert := &net.OpError{Op: "remote error", Err: tls.AlertError(42)}
	if got := Bare(alert).Error(); !strings.HasPrefix(got, "remote error: tls:") {
		t.Error(got)
	}
}
