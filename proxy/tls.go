package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// secure is a TLS connection that belongs to a loop. crypto/tls works between two
// buffers in memory and never sees the socket, which the loop reads and writes as
// any other: so TLS costs no system call, no goroutine and no wake-up of its own.
// What makes that possible is that a read of a tls.Conn that has timed out may be
// repeated (its SetReadDeadline), and that this one's writes cannot fail.
type secure struct {
	conn  *tls.Conn
	wire  wire
	early bool // conn may hold what came behind the end of the handshake
}

// wire is what a tls.Conn takes for its connection: the socket during the
// handshake, which a goroutine waits for, and afterwards two buffers.
type wire struct {
	net.Conn        // nil once a loop has it
	in       []byte // was received, and conn has not taken it
	out      []byte // conn made it, and nobody has written it
}

func (w *wire) Read(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Read(b)
	}
	if len(w.in) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Write(b)
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// SetWriteDeadline is called by CloseWrite.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}

// keptByTLS bounds what a tls.Conn holds between two reads: the beginning of a
// record, and what it took along in the handshake, of which no message is longer
// than 64 KiB.
const keptByTLS = 96 << 10

// detach takes the socket away, once the handshake is done: from now on a loop has
// its descriptor.
func (t *secure) detach() { t.wire.Conn, t.early = nil, true }

// useTLS makes room for records.
func (l *loop) useTLS() {
	if l.sealed == nil {
		l.sealed = make([]byte, sealBuffer)
	}
}

// sealBuffer is the size of the buffer for TLS records; one per loop.
const sealBuffer = 128 << 10

// mostOwed bounds what TLS itself has to say to a peer that is sent nothing else.
const mostOwed = 4 << 10

// readFrom reads what a peer has sent, in the clear. full: there may be more, and
// no event will tell. 0 bytes without an error are the peer's end.
func (l *loop) readFrom(fd int, t *secure, buf []byte) (n int, full bool, errno syscall.Errno) {
	if t == nil {
		n, errno = rawRead(fd, buf)
		return n, n == len(buf), errno
	}
	room := min(len(l.sealed), len(buf)-keptByTLS)
	for {
		got, errno := rawRead(fd, l.sealed[:room])
		if errno != 0 && (errno != syscall.EAGAIN || !t.early) {
			return 0, false, errno
		}
		n, ended, err := t.unseal(l.sealed[:got], buf)
		ended = ended || errno == 0 && got == 0
		switch t.early = ended; {
		case err != nil || len(t.wire.out) > mostOwed:
			return 0, false, syscall.EPROTO
		case n > 0:
			return n, ended || got == room, 0
		case ended:
			return 0, false, 0
		case errno != 0:
			return 0, false, errno
		}
	}
}

// unseal gives the content of what was received. ended: the peer has said that
// nothing more will come.
func (t *secure) unseal(sealed, buf []byte) (n int, ended bool, err error) {
	t.wire.in = sealed
	defer func() { t.wire.in = nil }()
	for n < len(buf) {
		k, err := t.conn.Read(buf[n:])
		switch n += k; {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n, false, nil
		case err == io.EOF:
			return n, true, nil
		default:
			return n, false, err
		}
	}
	return n, false, errors.New("more than was received") // see keptByTLS
}

// seal makes records of p. They are valid until the next call.
func (l *loop) seal(t *secure, p []byte) []byte {
	// The answer to a new key of the peer's may have waited for this (RFC 8446,
	// section 4.6.3: before the next application data).
	t.wire.out = append(l.sealed[:0], t.wire.out...)
	t.conn.Write(p) // only after CloseWrite it fails
	p = t.wire.out
	if cap(p) > cap(l.sealed) {
		l.sealed = p[:cap(p)]
	}
	t.wire.out = nil
	return p
}

// sealAtOnce bounds what is sealed for one write: what its socket does not take
// counts as sent, and can only be uncertain if the node is lost.
const sealAtOnce = 64 << 10

// writeTo writes to an upstream; n bytes of b have been written, or stand sealed
// in u.unsent, which then goes first.
func (l *loop) writeTo(u *upstream, b []byte) (n int, errno syscall.Errno) {
	if u.tls == nil {
		if len(b) == 0 {
			return 0, 0
		}
		return rawWrite(u.fd, b)
	}
	if len(u.unsent) > 0 {
		k, errno := rawWrite(u.fd, u.unsent)
		if u.unsent = u.unsent[k:]; len(u.unsent) > 0 {
			return 0, errno
		}
		u.unsent = nil
	}
	for n < len(b) {
		part := b[n:min(len(b), n+sealAtOnce)]
		sealed := l.seal(u.tls, part)
		n += len(part)
		k, errno := rawWrite(u.fd, sealed)
		if errno != 0 && errno != syscall.EAGAIN {
			return n, errno
		}
		if k < len(sealed) {
			u.unsent = bytes.Clone(sealed[k:])
			break
		}
	}
	return n, 0
}

// farewell tells a peer that nothing more will come, so that it can tell the end
// from a connection that was cut.
func (t *secure) farewell(fd int) {
	t.conn.CloseWrite()
	rawWrite(fd, t.wire.out)
}
