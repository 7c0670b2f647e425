package proxy

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/resp"
)

// client is a raw connection: what it sends is sent as it is, and what it
// reads are complete frames.
type client struct {
	t  testing.TB
	nc *conn
	in []byte // received, not yet read
}

// dial connects to the proxy.
func (w *world) dial() *client {
	w.t.Helper()
	c := dialTo(w.t, w.addr)
	w.clients = append(w.clients, c)
	return c
}

// dialTo connects to anything.
func dialTo(t testing.TB, addr string) *client {
	t.Helper()
	return &client{t: t, nc: connect(t, addr)}
}

// rawTo connects to anything and speaks no TLS to it.
func rawTo(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: &conn{nc, nc.(*net.TCPConn)}}
}

// send sends bytes as they are.
func (c *client) send(raw string) {
	c.t.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.nc, raw); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// cmd sends one command.
func (c *client) cmd(args ...string) {
	c.t.Helper()
	c.send(string(command(args...)))
}

// ask sends one command and returns the frame that comes next.
func (c *client) ask(args ...string) string {
	c.t.Helper()
	c.cmd(args...)
	return c.read()
}

// want sends one command and insists on its reply.
func (c *client) want(reply string, args ...string) {
	c.t.Helper()
	if got := c.ask(args...); got != reply {
		c.t.Fatalf("%s: answered %q, not %q", strings.Join(args, " "), cropped(got), cropped(reply))
	}
}

// expect insists on the frames that come next.
func (c *client) expect(frames ...string) {
	c.t.Helper()
	for _, f := range frames {
		if got := c.read(); got != f {
			c.t.Fatalf("received %q, not %q", cropped(got), cropped(f))
		}
	}
}

// expectPrefix insists on how the next frame begins, and returns it.
func (c *client) expectPrefix(prefix string) string {
	c.t.Helper()
	got := c.read()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("received %q, not %q...", cropped(got), prefix)
	}
	return got
}

func cropped(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}

// read returns the next complete frame.
func (c *client) read() string {
	c.t.Helper()
	frame, err := c.next()
	if err != nil {
		c.t.Fatalf("no reply: %v (received %q)", err, cropped(string(c.in)))
	}
	return frame
}

func (c *client) next() (string, error) {
	var rep resp.Reply
	at := 0
	for {
		n, done, err := rep.Scan(c.in[at:])
		if err != nil {
			return "", err
		}
		if at += n; done {
			frame := string(c.in[:at])
			c.in = c.in[at:]
			return frame, nil
		}
		if err := c.fill(); err != nil {
			return "", err
		}
	}
}

func (c *client) fill() error {
	room := make([]byte, 64<<10)
	c.nc.SetReadDeadline(time.Now().Add(patience))
	n, err := c.nc.Read(room)
	c.in = append(c.in, room[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// expectEnd insists that the connection ends with nothing more said.
func (c *client) expectEnd() {
	c.t.Helper()
	for {
		err := c.fill()
		if err == nil {
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			c.t.Fatal("the connection is not ended")
		}
		if len(c.in) > 0 {
			c.t.Fatalf("received %q before the end", cropped(string(c.in)))
		}
		return
	}
}

// shutWrite says that nothing more will be sent.
func (c *client) shutWrite() {
	c.t.Helper()
	if err := c.nc.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// reset ends the connection like a host that has lost its state.
func (c *client) reset() {
	c.nc.SetLinger(0)
	c.nc.Close()
}

// close ends the connection.
func (c *client) close() { c.nc.Close() }

// line is a command of simple words, as a request.
func line(words string) string { return string(command(strings.Fields(words)...)) }

// lines are commands of simple words, one after the other.
func lines(all ...string) (out string) {
	for _, words := range all {
		out += line(words)
	}
	return out
}

// Frames as Redis writes them.

func integer(n int) string { return ":" + strconv.Itoa(n) + "\r\n" }
func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }
func array(e ...string) string {
	return "*" + strconv.Itoa(len(e)) + "\r\n" + strings.Join(e, "")
}
func push(e ...string) string {
	return ">" + strconv.Itoa(len(e)) + "\r\n" + strings.Join(e, "")
}

const (
	ok     = "+OK\r\n"
	pong   = "+PONG\r\n"
	queued = "+QUEUED\r\n"
)

// wantPrefix sends one command and insists on how its reply begins.
func (c *client) wantPrefix(prefix string, args ...string) {
	c.t.Helper()
	c.cmd(args...)
	c.expectPrefix(prefix)
}

// shutWriteIfOpen is shutWrite for a connection that the other side may have
// ended.
func (c *client) shutWriteIfOpen() { _ = c.nc.CloseWrite() }
