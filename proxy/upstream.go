package proxy

import (
	"syscall"
	"time"

	"holdfast/resp"
	"holdfast/sentinel"
)

// upstream is a connection to a node, born of one View: one client's own, the
// shared one of many, or a spare that nobody uses. It is never pointed elsewhere: once that View is superseded nothing is written to
// it any more, and it lives on only to bring the answers that are under way.
// (A View that proves the same process again takes it over, see onView.)
type upstream struct {
	s      *session // whose it is; of a shared one, whose answer is being dealt with
	share  *sharing // nil when it is one client's own
	site   *site
	fd     int
	tls    *secure // nil: it is spoken to in the clear
	view   *sentinel.View
	rep    resp.Reply // where the present reply ends
	in     []byte     // the beginning of a reply, scanned, held back until the rest comes
	unsent []byte     // of a TLS record, which the socket took in part
	tail   tail       // what becomes of the rest of the present reply

	full       bool // the socket did not take all there was
	throttled  bool // it has not been read to its end since its client did not keep up
	more       bool // it may hold bytes that were not read
	superseded bool // nothing may be written any more
	leaving    bool // to be left as soon as nothing more is due from it
	ending     bool // the server has closed its side
	refusing   bool // it has said that it is no master: its replies only settle what was not executed
	denied     bool // it has a role that is not master's
	stray      bool // it answered what nobody asked: what belongs to what is no longer known
	soiled     bool // may have a state that nobody knows: not for another session
	awry       bool // its protocol is not its session's: a HELLO is under way that sets it, and nothing else
	proven     bool // its role was proven, by the View's probe or on this connection

	key       key // of a spare, as are the following
	dress     dress
	idleSince time.Time
}

// tail says what becomes of a reply that is too large to be held back.
type tail uint8

const (
	tailHeld     tail = iota
	tailPaired        // passed on; it answers the entry in turn
	tailUnpaired      // passed on; a message
	tailDropped       // thrown away: the command will be sent again
)

func (u *upstream) usable() bool { return !u.superseded }

// flush writes what has been accepted. This is the only place from which a
// client's command reaches a node, so this is where the View is looked at.
func (l *loop) flush(s *session) {
	if s.on.tunnel {
		l.flushTunnel(s)
		return
	}
	u, p := s.up, s.pend
	if u == nil || p == nil || u.superseded {
		return
	}
	if u.share != nil {
		l.queue(s, u)
		return
	}
	if u.full || len(p.unsent()) == 0 && len(u.unsent) == 0 {
		return
	}
	for !u.full && (len(p.unsent()) > 0 || len(u.unsent) > 0) {
		if s.site.m.tracker.View() != u.view {
			u.superseded = true // the letter that says so is on its way
			return
		}
		n, full, errno := l.writeTo(u, p.unsent())
		if errno != 0 && errno != syscall.EAGAIN {
			l.lost(u, errno.Error())
			return
		}
		p.written(n)
		s.sentAt, u.full = l.now, full
	}
	if p.q[len(p.q)-1].flag&flagLarge != 0 {
		p.release()
	} else if p.kept() > l.p.replayBytes {
		p.forget()
	}
	if p.q[p.head].kind == kindSilent {
		l.inTurn(s)
	}
}

func (l *loop) upstreamEvent(u *upstream, ev uint32) {
	switch {
	case u.share != nil:
		l.sharedEvent(u, ev)
		return
	case u.s == nil:
		l.spareEvent(u, ev)
		return
	}
	s := u.s
	if ev&evWrite != 0 && u.full {
		u.full = false
		l.flush(s)
		if s.up != u {
			return
		}
		if !u.full {
			l.again(s)
		}
	}
	if ev&evRead != 0 {
		u.more = true
		if ev&evGone != 0 {
			u.ending = true
		}
		l.readUpstream(u)
	}
}

// readUpstream takes in replies, one buffer a round. While the client does not
// take what it has been sent, its upstream is not read: the pressure reaches
// Redis as it would on a direct connection.
func (l *loop) readUpstream(u *upstream) {
	for l.slots[u.fd].u == u && (u.share == nil && u.s != nil || u.share != nil && !u.share.lost) {
		if l.heldBack(u) {
			u.throttled = true
			return
		}
		start := copy(l.buf, u.in)
		n, full, errno := l.readFrom(u.fd, u.tls, l.buf[start:])
		switch {
		case errno == syscall.EAGAIN:
			u.more, u.throttled = false, false
			return
		case errno != 0:
			l.lost(u, errno.Error())
			return
		case n == 0:
			l.lost(u, "connection closed by the server")
			return
		}
		if u.in = u.in[:0]; u.share == nil {
			u.in = l.spare.put(u.in)
		}
		if !full && !u.ending {
			u.more, u.throttled = false, false
		}
		switch {
		case u.share != nil:
			l.sharedReplies(u, l.buf[:start+n], start)
		case u.s.on.tunnel:
			l.send(u.s, l.buf[:n])
		default:
			l.replies(u, l.buf[:start+n], start)
		}
		if full {
			l.readOn(u)
			return
		}
		if !u.ending {
			return
		}
	}
}

// readOn has an upstream read on in the next round.
func (l *loop) readOn(u *upstream) {
	switch {
	case u.share != nil:
		l.late = append(l.late, u)
	case u.s != nil:
		l.again(u.s)
	}
}

// dropUpstream closes an upstream that nobody has any more.
func (l *loop) dropUpstream(u *upstream) {
	u.in = l.spare.put(u.in)
	l.drop(u.fd)
	l.p.upstreams.Add(-1)
}

// replies pairs what came with what is due: buf, of which the first `at` bytes
// have been scanned before. What needs no change goes to the client straight
// from buf.
func (l *loop) replies(u *upstream, buf []byte, at int) {
	s := u.s
	run, pos := 0, 0 // run: passed on but not yet given; pos: start of the present reply
	for at < len(buf) {
		n, done, err := u.rep.Scan(buf[at:])
		at += n
		if err != nil {
			if l.send(s, buf[run:pos]) {
				l.lost(u, "reply is not RESP: "+err.Error())
			}
			return
		}
		if !done {
			break
		}
		pass := l.settled(u, buf[pos:at])
		if !pass {
			if !l.send(s, buf[run:pos]) {
				return
			}
			run = at
		}
		pos = at
		if s.pend != nil && s.pend.ours() {
			if !l.send(s, buf[run:at]) || !l.inTurn(s) {
				return
			}
			run = at
			if s.up != u {
				return
			}
		}
	}
	if l.rest(u, buf, run, pos) {
		l.settle(u)
	}
}

// rest deals with the end of a buffer: buf[run:pos] is passed on and not yet
// given, buf[pos:] is the beginning of a reply. False: the session is closed.
func (l *loop) rest(u *upstream, buf []byte, run, pos int) bool {
	part := buf[pos:]
	if len(part) > keepReply && u.tail == tailHeld {
		u.tail = l.begin(u, part)
	}
	switch {
	case len(part) > 0 && (u.tail == tailPaired || u.tail == tailUnpaired):
		return l.send(u.s, buf[run:])
	case u.tail == tailHeld && len(part) > 0:
		u.in = l.spare.join(nil, part)
	}
	return l.send(u.s, buf[run:pos])
}

// begin decides what becomes of a reply that is too large to be held back.
func (l *loop) begin(u *upstream, part []byte) tail {
	p := u.s.pend
	switch {
	case u.unasked(part):
		return tailUnpaired
	case u.refusing || p == nil || p.waiting() == nil:
		return tailDropped
	}
	u.s.keepApart(pinLarge)
	return tailPaired
}

// endWrites tells the node that no more will come.
func (u *upstream) endWrites() {
	if u.tls != nil && len(u.unsent) == 0 {
		u.tls.farewell(u.fd)
	}
	shutdownWrite(u.fd)
}
