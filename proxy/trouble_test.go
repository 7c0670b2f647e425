package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/pki"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// TestTroubleIsToldSeldom: the first of it, and once that it is over, however often
// it comes and goes; and nothing of a master that was left.
func TestTroubleIsToldSeldom(t *testing.T) {
	var out bytes.Buffer
	log := zerolog.New(&out)
	m, v := &master{name: masterName}, &sentinel.View{Master: "a"}
	m.atEase(log, "a")
	for range 3 {
		m.troubled(log, v, "WRONGPASS")
		m.troubled(log, v, "WRONGPASS")
		if now := m.trouble.now(v); now != "a: WRONGPASS" {
			t.Errorf("%q", now)
		}
		if now := m.trouble.now(&sentinel.View{Master: "b"}); now != "" {
			t.Errorf("%q of another master", now)
		}
		m.atEase(log, "a")
		if now := m.trouble.now(v); now != "" {
			t.Errorf("%q though it is over", now)
		}
	}
	if strings.Count(out.String(), "cannot attach") != 1 || strings.Count(out.String(), "attached to the master again") != 1 {
		t.Error(out.String())
	}
	m.trouble.at = time.Now().Add(-repeatTrouble)
	m.troubled(log, v, "WRONGPASS")
	m.troubled(log, &sentinel.View{Master: "b"}, "WRONGPASS")
	if n := strings.Count(out.String(), "cannot attach"); n != 3 {
		t.Errorf("told %d times, of another master and a while later too", n)
	}
}

// TestTroubleWithTLSIsNamed, in words that are the same each time.
func TestTroubleWithTLSIsNamed(t *testing.T) {
	if secured {
		t.Skip("it is spoken everywhere")
	}
	old, err := pki.New(t.TempDir(), "ca")
	if err == nil {
		err = old.IssueUntil("server", time.Now().Add(-time.Minute))
	}
	if err != nil {
		t.Fatal(err)
	}
	expired, err := tls.LoadX509KeyPair(old.File("server.pem"), old.File("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	plain := redistest.NewScriptedNode(t)
	plain.Handle("HELLO", redistest.Cut)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{expired}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	for _, c := range []struct {
		addr  string
		nodes config.ClientTLS
		want  string
	}{
		{plain.Addr(), config.ClientTLS{}, "does it want TLS? redis.tls"},
		{ln.Addr().String(), trusting(t, old), "is valid from"},
	} {
		p := &Proxy{timeout: patience, nodes: c.nodes}
		attempt := func() string {
			o := &order{ctx: t.Context(), view: &sentinel.View{Master: c.addr}}
			err := p.place(o, &prepared{fd: -1})
			if err == nil {
				t.Fatal("attached")
			}
			return sentinel.Bare(err).Error()
		}
		first := attempt()
		if _, port, _ := net.SplitHostPort(c.addr); !strings.Contains(first, c.want) || strings.Contains(first, port) || strings.Contains(first, "current time") {
			t.Errorf("%q, want %q", first, c.want)
		}
		if again := attempt(); again != first {
			t.Errorf("%q became %q", first, again)
		}
	}
}
