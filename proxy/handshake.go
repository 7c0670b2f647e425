package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"holdfast/resp"
	"holdfast/sentinel"
)

// replayError is a refusal that concerns this client alone: its login, or its
// state, is not accepted by the node.
type replayError struct {
	what, reply string
}

func (e *replayError) Error() string { return e.what + " refused: " + e.reply }

// roleError is a node that is no master.
type roleError struct{ role string }

func (e *roleError) Error() string { return "says role:" + e.role + ", not master" }

// nodesKey is where to look when it is about TLS to the nodes.
const nodesKey = "redis.tls"

// place connects to the View's master, logs in, has it prove its role and
// replays the client's state: everything that must be true of an upstream
// before a client's command may travel on it.
func (p *Proxy) place(o *order, res *prepared) error {
	d := net.Dialer{Timeout: p.timeout, KeepAlive: 30 * time.Second}
	c, err := d.DialContext(o.ctx, "tcp", o.view.Master)
	if errors.Is(err, syscall.ECONNRESET) && !o.bytes { // accepted, and closed before we looked
		return sentinel.Unheard(p.nodes, nodesKey, err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(o.ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	var t *secure
	if !o.bytes {
		c.SetDeadline(time.Now().Add(p.timeout + handshakeTime))
		h := handshake{c: c}
		if h.c, t, err = p.secured(c, o.view.Master); err != nil {
			return err
		}
		if err := h.login(o, res); err != nil {
			return p.unheard(&h, err)
		}
		if res.proven && !res.locked {
			if err := o.site.m.introduce(o.view, &h); err != nil {
				return err
			}
		}
		if err := h.replay(o.steps); err != nil {
			return err
		}
		res.rest = append(h.rest, h.in...)
	}
	if t != nil {
		early, err := t.detach()
		if err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		res.tls, res.rest = t, append(res.rest, early...)
	}
	if res.fd, err = dupConn(c); err == nil && t != nil {
		roomForRecords(res.fd)
	}
	return err
}

// secured speaks TLS over c, if the nodes do.
func (p *Proxy) secured(c net.Conn, addr string) (net.Conn, *secure, error) {
	conf := p.nodes.For(addr)
	if conf == nil {
		return c, nil, nil
	}
	t := &secure{wire: wire{Conn: c}}
	t.conn = tls.Client(&t.wire, conf)
	if err := t.conn.Handshake(); err != nil {
		return nil, nil, sentinel.Unheard(p.nodes, nodesKey, err)
	}
	return t.conn, t, nil
}

// unheard finds words for a connection that ended before the node said anything.
func (p *Proxy) unheard(h *handshake, err error) error {
	if h.heard || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return sentinel.Unheard(p.nodes, nodesKey, err)
}

// handshakeTime is what a handshake may take beyond the dial: a replay of
// thousands of subscriptions is slower than a PING.
const handshakeTime = 2 * time.Second

// dupConn takes the descriptor out of Go's hands: closing c afterwards takes
// its copy out of the runtime's poller and leaves ours.
func dupConn(c net.Conn) (fd int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	if cerr := raw.Control(func(f uintptr) { fd, err = dupCloexec(int(f)) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// handshake is a plain conversation on a connection that no loop owns yet.
type handshake struct {
	c    net.Conn
	in   []byte // received, not yet read
	rest []byte // messages that came in between, for the client

	heard bool // the node has said something
}

// login makes the connection what the client's is and learns the role. HELLO
// does all of it in one round trip; servers before 6.0 need AUTH and ROLE. It
// travels alone: Redis since 7.2 sends no reply to a failed AUTH while other
// replies are pending.
func (h *handshake) login(o *order, res *prepared) error {
	args := []string{"HELLO", "2"}
	if o.proto == 3 {
		args[1] = "3"
	}
	user := o.login.Username
	if user == "" {
		user = "default"
	}
	if o.login.Password != "" {
		args = append(args, "AUTH", user, string(o.login.Password))
	}
	reply, err := h.ask(command(args...))
	if err != nil {
		return err
	}
	switch {
	case reply[0] != '-':
		res.proven = true
		if role := roleOf(reply); role != "" && role != "master" {
			return &roleError{role}
		}
		return nil
	case bytes.HasPrefix(reply, []byte("-NOAUTH")) && o.login.Password == "":
		// The client will log in itself. Until then the View's proof stands,
		// or the role is asked for once it has.
		res.proven, res.locked = o.view.Proven, true
		return nil
	case bytes.HasPrefix(reply, []byte("-ERR unknown command")):
		return h.loginOld(o, res)
	}
	return h.refused(o, "login", reply)
}

// loginOld is login for servers without HELLO.
func (h *handshake) loginOld(o *order, res *prepared) error {
	if o.login.Password != "" {
		args := []string{"AUTH", string(o.login.Password)}
		if o.own && o.login.Username != "default" && o.login.Username != "" {
			args = []string{"AUTH", o.login.Username, string(o.login.Password)}
		}
		reply, err := h.ask(command(args...))
		if err != nil {
			return err
		}
		if reply[0] == '-' {
			return h.refused(o, "login", reply)
		}
	}
	reply, err := h.ask(command("ROLE"))
	if err != nil {
		return err
	}
	if res.proven = true; reply[0] == '-' {
		res.proven = o.view.Proven
		return nil
	}
	if role, _ := firstTwo(reply); string(role) != "master" {
		return &roleError{string(role)}
	}
	return nil
}

// refused tells a refusal of the client's own login from one of holdfast's, and
// both from a node that is not ready.
func (h *handshake) refused(o *order, what string, reply []byte) error {
	line := firstLine(reply)
	if o.own && (bytes.HasPrefix(reply, []byte("-WRONGPASS")) || bytes.HasPrefix(reply, []byte("-NOPERM"))) {
		return &replayError{what, line}
	}
	if bytes.HasPrefix(reply, []byte("-WRONGPASS")) || bytes.HasPrefix(reply, []byte("-NOPERM")) {
		return fmt.Errorf("%s as user %q refused: %s (check redis.username and redis.password)", what, o.login.Username, line)
	}
	return fmt.Errorf("%s refused: %s", what, line)
}

// replay tells the node what the client's connection had become.
func (h *handshake) replay(steps []step) error {
	var out []byte
	for _, st := range steps {
		out = append(out, st.cmd...)
	}
	if len(out) == 0 {
		return nil
	}
	if err := h.send(out); err != nil {
		return err
	}
	for _, st := range steps {
		for i := 0; i < st.replies; {
			reply, err := h.read()
			if err != nil {
				return err
			}
			if isMessage(reply) {
				h.rest = append(h.rest, reply...)
				continue
			}
			i++
			switch {
			case reply[0] != '-' || st.soft:
			case transient(reply):
				return fmt.Errorf("%s refused: %s", st.what, firstLine(reply))
			default:
				return &replayError{st.what, firstLine(reply)}
			}
		}
	}
	return nil
}

// transient tells whether a refusal will pass: a script that runs, a data set that
// is being loaded.
func transient(reply []byte) bool {
	for _, prefix := range []string{"-BUSY ", "-LOADING ", "-MASTERDOWN ", "-TRYAGAIN ", "-OOM "} {
		if bytes.HasPrefix(reply, []byte(prefix)) {
			return true
		}
	}
	return false
}

// isMessage tells a message from a confirmation, either of which may come while
// subscriptions are being made, and a line of MONITOR from a status.
func isMessage(reply []byte) bool {
	if reply[0] == '+' {
		return '0' <= reply[1] && reply[1] <= '9'
	}
	if reply[0] != '*' && reply[0] != '>' {
		return false
	}
	what, _ := firstTwo(reply)
	return !bytes.HasSuffix(what, []byte("subscribe"))
}

func (h *handshake) ask(cmd []byte) ([]byte, error) {
	if err := h.send(cmd); err != nil {
		return nil, err
	}
	return h.read()
}

func (h *handshake) send(b []byte) error {
	_, err := h.c.Write(b)
	return err
}

// maxHandshakeReply bounds what a node may answer while it is being prepared.
// COMMAND's reply is some 200 KiB.
const maxHandshakeReply = 8 << 20

// read returns the next complete reply, valid for good.
func (h *handshake) read() ([]byte, error) {
	var rep resp.Reply
	at := 0
	for {
		n, done, err := rep.Scan(h.in[at:])
		if err != nil {
			return nil, err
		}
		if at += n; done {
			reply := h.in[:at:at]
			h.in = h.in[at:]
			return reply, nil
		}
		if at > maxHandshakeReply {
			return nil, errors.New("reply too large during the handshake")
		}
		room := make([]byte, len(h.in), len(h.in)+max(4<<10, len(h.in)))
		copy(room, h.in)
		n, err = h.c.Read(room[len(room):cap(room)])
		if n == 0 && err != nil {
			return nil, err
		}
		h.in, h.heard = room[:len(room)+n], true
	}
}
