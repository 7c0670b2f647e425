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
	conn *tls.Conn
	wire wire
	end  end
}

// end is what stands behind all that a peer has sent.
type end uint8

const (
	endNone  end = iota // as far as is known
	endClean            // it has said so, or closed the connection
	endWrong            // what is no record of its
)

// wire is what a tls.Conn takes for its connection: the socket during the
// handshake, which a goroutine waits for, and afterwards two buffers.
type wire struct {
	net.Conn               // nil once a loop has it
	in       []byte        // was received, and conn has not taken it
	out      []byte        // conn made it, and nobody has written it
	slot     chan struct{} // to be given back, see shaking.turn
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
		w.calculated()
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
// its descriptor. What came in one piece with the end of the handshake no event
// will tell of; it is returned.
func (t *secure) detach() (early []byte, err error) {
	t.wire.Conn = nil
	chunk := make([]byte, 4<<10)
	for {
		n, err := t.conn.Read(chunk)
		early = append(early, chunk[:n]...)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return early, nil
		case err == io.EOF:
			t.end = endClean
			return early, nil
		default:
			return nil, err
		}
	}
}

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
	for t.end == endNone {
		got, errno := rawRead(fd, l.sealed[:room])
		if errno != 0 {
			return 0, false, errno
		}
		if n = t.unseal(l.sealed[:got], buf); got == 0 {
			t.end = max(t.end, endClean)
		}
		if len(t.wire.out) > mostOwed {
			t.end = endWrong
		}
		if n > 0 {
			return n, got == room || t.end != endNone, 0
		}
	}
	if t.end == endWrong {
		return 0, false, syscall.EPROTO
	}
	return 0, false, 0
}

// unseal gives the content of what was received.
func (t *secure) unseal(sealed, buf []byte) (n int) {
	t.wire.in = sealed
	defer func() { t.wire.in = nil }()
	for n < len(buf) {
		k, err := t.conn.Read(buf[n:])
		switch n += k; {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n
		case err == io.EOF:
			t.end = endClean
			return n
		default:
			t.end = endWrong
			return n
		}
	}
	t.end = endWrong // more than was received, see keptByTLS
	return n
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

// oneRecord is what a record holds at most (RFC 8446, section 5.1).
const oneRecord = 16 << 10

// writeTo writes to an upstream, to which nothing is to be written while it is
// full; n bytes of b have left. Of TLS it is one record at most, which is made only
// when the socket will take it whole: of a record in part nobody could say what its
// node will execute. What in spite of that is not taken, for want of the kernel's
// memory, counts as sent and goes first.
func (l *loop) writeTo(u *upstream, b []byte) (n int, full bool, errno syscall.Errno) {
	if u.tls == nil {
		if len(b) > 0 {
			n, errno = rawWrite(u.fd, b)
		}
		return n, n < len(b), errno
	}
	if len(u.unsent) == 0 {
		if !writable(u.fd) {
			return 0, true, 0
		}
		n = min(len(b), oneRecord)
		u.unsent = l.seal(u.tls, b[:n])
	}
	k, errno := rawWrite(u.fd, u.unsent)
	if errno != 0 && errno != syscall.EAGAIN {
		u.unsent = nil
		return 0, true, errno
	}
	if u.unsent = u.unsent[k:]; len(u.unsent) == 0 {
		u.unsent = nil
		return n, false, 0
	}
	u.unsent = bytes.Clone(u.unsent)
	return n, true, 0
}

// farewell tells a peer that nothing more will come, so that it can tell the end
// from a connection that was cut.
func (t *secure) farewell(fd int) {
	t.conn.CloseWrite()
	if len(t.wire.out) > 0 { // it says so once
		rawWrite(fd, t.wire.out)
		t.wire.out = nil
	}
}
