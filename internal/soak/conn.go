package soak

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"holdfast/resp"
)

// conn is one connection of a client, and what it has become: what the client
// knows of it, not what the proxy says.
type conn struct {
	*client
	tcp *net.TCPConn
	nc  net.Conn // the same, or TLS over it
	in  []byte
	rep resp.Reply

	proto      int
	db         int
	user       int // 0: the default user
	name       string
	subscribed bool

	messages []string        // that came, as they are
	dropped  map[string]bool // keys that were invalidated
	dropAll  bool
	history  []string // the last commands and answers
}

// errEnded: the proxy has ended the connection; errWrong: something did not fit,
// and has been told.
var (
	errEnded = errors.New("the connection was ended")
	errWrong = errors.New("a reply that does not fit")
)

func (c *client) dial() (*conn, error) {
	addr, safely := c.run.addr, c.run.front != nil && c.id%4 == 3
	if safely {
		addr = c.run.front.safe
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c.run.came.Add(1)
	k := &conn{client: c, tcp: nc.(*net.TCPConn), nc: nc, proto: 2, dropped: map[string]bool{}}
	if safely {
		k.nc = tls.Client(nc, c.run.front.trust)
	}
	return k, nil
}

// leave ends the connection; rudely, with a reset.
func (k *conn) leave(rudely bool) {
	if rudely {
		_ = k.tcp.SetLinger(0) // it may have ended already
		k.tcp.Close()
	}
	k.nc.Close()
	k.run.gone.Add(1)
}

// closeWrite says that nothing more will come.
func (k *conn) closeWrite() error {
	if s, ok := k.nc.(*tls.Conn); ok {
		_ = s.CloseWrite() // it may have ended already
	}
	return k.tcp.CloseWrite()
}

// historyKept is how many lines a client can tell when something did not fit.
const historyKept = 60

func (k *conn) note(format string, args ...any) {
	if len(k.history) >= 2*historyKept {
		k.history = append(k.history[:0], k.history[historyKept:]...)
	}
	k.history = append(k.history, fmt.Sprintf(format, args...))
}

// wrong tells what did not fit.
func (k *conn) wrong(format string, args ...any) error {
	said := k.history[max(0, len(k.history)-historyKept):]
	k.run.mismatch(fmt.Sprintf("client %d at %s (RESP%d, database %d, user %d, generation %d), %s: %s\n    %s",
		k.id, k.nc.LocalAddr(), k.proto, k.db, k.user, k.generation, time.Now().Format("15:04:05.000"),
		fmt.Sprintf(format, args...), strings.Join(said, "\n    ")))
	return errWrong
}

// frame returns the next frame. The error is errEnded, errWrong or a timeout's.
func (k *conn) frame() (string, error) {
	at := 0
	for {
		n, done, err := k.rep.Scan(k.in[at:])
		if err != nil {
			return "", k.wrong("no RESP: %v: %q", err, cropped(string(k.in)))
		}
		if at += n; done {
			f := string(k.in[:at])
			if k.in = k.in[at:]; len(k.in) == 0 {
				k.in = nil
			}
			k.run.bytes.Add(uint64(len(f)))
			return f, k.foreign(f)
		}
		if err := k.fill(); err != nil {
			return "", err
		}
	}
}

const chunk = 32 << 10

func (k *conn) fill() error {
	if cap(k.in)-len(k.in) < chunk {
		grown := make([]byte, len(k.in), 2*len(k.in)+2*chunk)
		copy(grown, k.in)
		k.in = grown
	}
	if k.slow > 0 {
		time.Sleep(k.slow) // a slow reader's pace, which is its nature and no waiting for anything
	}
	_ = k.nc.SetReadDeadline(time.Now().Add(k.run.Patience))
	n, err := k.nc.Read(k.in[len(k.in):min(cap(k.in), len(k.in)+16*chunk)])
	k.in = k.in[:len(k.in)+n]
	var timeout net.Error
	switch {
	case n > 0 || err == nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return k.wrong("no answer within %v (received %q)", k.run.Patience, cropped(string(k.in)))
	case len(k.in) > 0 && err == io.EOF:
		k.note("ended in the middle of %q", cropped(string(k.in)))
	}
	return errEnded
}

// marks: whatever is a client's carries its own.
const anyMark = "own-"

func markOf(id int) string { return anyMark + strconv.Itoa(id) + "-" }

// foreign says whether a frame carries another client's mark.
func (k *conn) foreign(f string) error {
	if strings.Count(f, anyMark) == strings.Count(f, k.mark) {
		return nil
	}
	return k.wrong("FOREIGN: received %q", cropped(f))
}

// next returns the next reply; messages and invalidations on the way are kept.
func (k *conn) next() (string, error) {
	for {
		f, err := k.frame()
		if err != nil || !k.unasked(f) {
			return f, err
		}
		k.note("  < (unasked) %q", cropped(f))
	}
}

func (k *conn) unasked(f string) bool {
	if f[0] != '>' && !(f[0] == '*' && k.subscribed && k.proto == 2) {
		return false
	}
	var words []string
	for e := range resp.Elements([]byte(f)) {
		text, ok := resp.String(e)
		if !ok {
			text = e
		}
		words = append(words, string(text))
	}
	switch {
	case len(words) == 3 && words[0] == "message":
		k.messages = append(k.messages, words[1]+" "+words[2])
		return true
	case len(words) == 2 && words[0] == "invalidate":
		if words[1] == "_\r\n" {
			k.dropAll = true
			return true
		}
		for e := range resp.Elements([]byte(words[1])) {
			key, _ := resp.String(e)
			k.dropped[string(key)] = true
		}
		return true
	}
	return false
}

func cropped(s string) string {
	if len(s) > 160 {
		return s[:120] + "..." + s[len(s)-20:] + fmt.Sprintf(" (%d bytes)", len(s))
	}
	return s
}

// Requests and replies as Redis writes them.

func request(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		b.WriteString(bulk(a))
	}
	return b.String()
}

func bulk(s string) string      { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }
func integer(n int) string      { return ":" + strconv.Itoa(n) + "\r\n" }
func array(e ...string) string  { return "*" + strconv.Itoa(len(e)) + "\r\n" + strings.Join(e, "") }
func status(text string) string { return "+" + text + "\r\n" }

const ok = "+OK\r\n"

// null is what stands for a value that is not there.
func (k *conn) null() string {
	if k.proto == 3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

func (k *conn) nullArray() string {
	if k.proto == 3 {
		return "_\r\n"
	}
	return "*-1\r\n"
}
