//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// secretly makes a listener one that speaks TLS up to a version, and says how to
// speak to it.
func secretly(t *testing.T, l net.Listener, highest uint16) (net.Listener, *tls.Config) {
	t.Helper()
	id, err := newIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(id.both, id.both)
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: highest}), id.client
}

func TestAskOverTLS(t *testing.T) {
	c := overTLS(get("", "", 64<<10, 1, 1))
	at := answers(t, c, right(c))
	request, reply := c.step(3)
	if err := ask(at, connTimeout, request, reply); err != nil {
		t.Error(err)
	}
	_, other := c.step(4)
	if err := ask(at, connTimeout, request, other); err == nil || !strings.Contains(err.Error(), "answered") {
		t.Errorf("the reply to another key: %v", err)
	}
}

func TestAskOverTLSOfOneThatDoesNotAnswer(t *testing.T) {
	c := overTLS(get("", "", 64, 1, 1))
	request, reply := c.step(0)
	mute := answers(t, c, func(io.Writer, []byte) error { return nil })
	if err := ask(mute, 50*time.Millisecond, request, reply); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("mute: %v", err)
	}
	gone := answers(t, c, func(io.Writer, []byte) error { return io.EOF })
	if err := ask(gone, connTimeout, request, reply); err == nil || !strings.Contains(err.Error(), "closed after 0 of") {
		t.Errorf("gone: %v", err)
	}
}

func TestWhatWasAgreedOnIsHeld(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old, client := secretly(t, l, tls.VersionTLS12)
	go accept(old, 1, func(io.Writer, []byte) error { return nil })
	at := door{l.Addr().(*net.TCPAddr).Port, client}
	if err := ask(at, connTimeout, []byte("x"), []byte("y")); err == nil || !strings.HasPrefix(err.Error(), "TLS: ") {
		t.Errorf("TLS 1.2: %v", err)
	}
	if err := agreed(tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}); err != nil {
		t.Error(err)
	}
	err = agreed(tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_CHACHA20_POLY1305_SHA256})
	if want := "TLS: agreed on TLS 1.3 and TLS_CHACHA20_POLY1305_SHA256, not on TLS 1.3 and TLS_AES_128_GCM_SHA256"; fmt.Sprint(err) != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestUnsealAcrossEverySplit has a server send several records and close, and
// takes them in pieces that keep to no record's bounds.
func TestUnsealAcrossEverySplit(t *testing.T) {
	content := valueOf(40_000, 7)
	for _, step := range []int{1, 7, 1000, 16_500, recordsRoom} {
		c := class{command: "GET", size: 64, tls: true}
		once := answers(t, c, func(w io.Writer, _ []byte) error {
			w.Write(content)
			return io.EOF
		})
		peer, received := heard(t, once, c)
		var got []byte
		var err error
		buf := make([]byte, readRoom)
		for at := 0; at < len(received) && err == nil; at += step {
			var n int
			n, err = peer.unseal(received[at:min(at+step, len(received))], buf)
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, content) || err != io.EOF {
			t.Errorf("steps of %d: %d bytes of %d, then %v", step, len(got), len(content), err)
		}
	}
}

// heard is a connection that has asked once, and all bytes that came back until
// it was closed.
func heard(t *testing.T, at door, c class) (*sealed, []byte) {
	t.Helper()
	fd, err := dial(at.port, connTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	peer, err := handshake(socket(fd), at.tls)
	if err != nil {
		t.Fatal(err)
	}
	peer.detach()
	request, _ := c.step(0)
	if _, err := socket(fd).Write(peer.seal(request)); err != nil {
		t.Fatal(err)
	}
	received, err := io.ReadAll(socket(fd))
	if err != nil {
		t.Fatal(err)
	}
	return peer, received
}
