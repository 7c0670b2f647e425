package proxy

import (
	"syscall"
	"time"

	"holdfast/resp"
)

// session is one client. It belongs to one loop, which is the only one to
// touch it. An idle session is this struct and nothing else.
type session struct {
	l     *loop
	on    *listener
	fd    int
	tls   *secure // nil: it is spoken to in the clear
	phase phase
	site  *site

	in      []byte       // received and not yet accepted
	scanned int          // of in, by req
	req     resp.Request // where the present request ends
	out     []byte       // replies that the client's socket did not take, sealed if there is TLS
	pend    *pending     // accepted, not answered; nil when there is none
	up      *upstream
	vec     *vector // acknowledged state; nil: a fresh connection

	waitingSince time.Time // since when a command of its waits for an upstream; zero: none does
	notBefore    time.Time // it may not try another upstream before
	turn         uint32    // of the order that is being prepared for it
	place        uint32    // its place in the writers of its shared upstream is the one of this number
	queued       bool      // it has one
	tries        int       // upstreams in a row that answered it nothing but refusals
	weight       int       // bytes counted in loop.heldBytes

	sentAt  time.Time // when something was last written for it
	failed  error     // the protocol error that ends it once all is answered
	leaving cut       // why it is closing

	gone     bool  // the client has closed its side; what it sent may not be read yet
	more     bool  // its socket may hold bytes that were not read
	listed   bool  // in loop.ready
	eof      bool  // the client sends no more
	closing  bool  // to be closed once out is written
	solo     bool  // a command is out that must travel alone (AUTH, HELLO)
	stalled  bool  // the next command waits until everything is answered
	streamed bool  // the command being received is passed on as it arrives
	swallow  bool  // the command being received is thrown away: its answer stands already
	shedding bool  // what it sends is answered with "waited too long", for the moment
	mute     bool  // CLIENT REPLY OFF is in force for what is accepted now
	skip     bool  // CLIENT REPLY SKIP silences the next command
	unsure   bool  // state was changed without an acknowledgement: it cannot be carried over
	prove    bool  // its upstream's role is to be asked for before anything else
	moved    bool  // its latest writes were made on another connection
	wrote    bool  // since it last moved; only looked at where upstreams are shared
	parked   bool  // in the parked of a shared upstream
	forGood  bool  // it never goes back to a shared upstream
	pin      pin   // why its upstream is its own, or is to be
	run      uint8 // so many commands more travel apart
	runWhy   pin   // because of this
	authed   bool  // has presented the listener's password
}

// phase is where a session stands with its upstream.
type phase uint8

const (
	phaseIdle      phase = iota // has none and needs none
	phaseWaiting                // needs one: the View does not serve, or the gate is shut
	phasePreparing              // a place for it is taken or it queues for one
	phaseAttached
	phaseClosed
)

// maxInFlight bounds what one client may have outstanding, in commands. A
// client may send a whole pipeline before it reads a reply, as it may with
// Redis, so this is far above what anybody means to do.
const maxInFlight = 1 << 20

func (l *loop) open(g guest, on *listener) {
	s := &session{l: l, on: on, fd: g.fd, tls: g.tls, in: g.early, site: l.sites[on.master.index]}
	s.authed = on.cfg.Password == "" // else it must present it first
	if !on.shared {
		s.pin = pinMode
	}
	s.req.Unauthenticated(!s.authed)
	if _, err := l.adopt(g.fd, s, nil); err != nil {
		l.drop(g.fd)
		l.p.clients.Add(-1)
		return
	}
	l.sessions++
	on.clients.Add(1)
	if l.draining {
		l.close(s, cutDrain)
		return
	}
	if on.tunnel {
		l.need(s)
	}
	if g.tls != nil {
		l.useTLS()
		s.site.count.add(statBytesIn, len(s.in))
		if s.more = g.tls.end != endNone; s.more || len(s.in) > 0 {
			l.again(s)
		}
	}
}

// close ends a session at once. Whatever it had accepted and not answered is
// counted as cut.
func (l *loop) close(s *session, why cut) {
	if s.phase == phaseClosed {
		return
	}
	if s.pend != nil {
		s.site.count.add(statCutCommands, s.pend.due())
	}
	s.site.count.cut(why)
	l.detach(s)
	l.stopWaiting(s)
	s.phase = phaseClosed
	l.releasePending(s)
	if s.tls != nil && len(s.out) == 0 {
		s.tls.farewell(s.fd)
	}
	l.unread -= len(s.out)
	s.in, s.out, s.tls = l.spare.put(s.in), l.spare.put(s.out), nil
	l.drop(s.fd)
	l.sessions--
	s.on.clients.Add(-1)
	l.p.clients.Add(-1)
}

func (l *loop) clientEvent(s *session, ev uint32) {
	if ev&evWrite != 0 && len(s.out) > 0 {
		if !l.flushClient(s) {
			return
		}
	}
	if ev&evRead == 0 {
		return
	}
	s.more = true
	if ev&evDead != 0 {
		l.close(s, cutClient)
		return
	}
	// The peer's end is an edge of its own: while the session is not read this
	// is all there will be to tell that its client has gone.
	s.gone = s.gone || ev&evGone != 0
	l.read(s, s.gone)
	switch {
	case !s.gone || s.phase == phaseClosed:
	case s.held():
		l.close(s, cutClient)
	case s.stalled && s.up != nil && s.up.share == nil && !s.up.full && s.pend != nil && len(s.pend.unsent()) == 0:
		// What it sent last waits for an answer that may never come, if that
		// of a blocking command: Redis sees the end too and lets go of it.
		s.up.superseded = true
		s.up.endWrites()
	}
}

// readable tells whether the session may take in more. Holding a session is
// nothing but not reading it: what it sent stands in its socket.
func (l *loop) readable(s *session) bool {
	switch {
	case s.closing || s.eof || s.stalled || len(s.out) > l.p.mostUnread():
		return false
	case s.shedding:
		return true
	case s.phase == phaseAttached:
		switch {
		case !s.up.usable() || s.up.full:
			return false
		case s.pend == nil:
			return true
		case s.up.share != nil:
			return s.pend.len() < sharedInFlight && !l.behind(s)
		}
		return s.pend.len() < maxInFlight
	case s.phase == phaseIdle && s.on.shared && s.authed:
		return s.site.view.Serving()
	default:
		return !s.authed
	}
}

// held tells whether the session waits for a master, not just for a connection
// to it.
func (s *session) held() bool {
	return (s.phase == phaseWaiting || s.phase == phasePreparing) && !s.site.m.tracker.View().Serving()
}

// resume goes on where the session was put off.
func (l *loop) resume(s *session) {
	if s.phase == phaseClosed {
		return
	}
	if s.up != nil && s.up.more {
		l.readUpstream(s.up)
		if s.phase == phaseClosed {
			return
		}
	}
	if len(s.in) > 0 && s.scanned < len(s.in) {
		if !l.readable(s) {
			l.putOff(s)
			return
		}
		in, scanned := s.in, s.scanned
		s.in, s.scanned = nil, 0
		l.consume(s, in, scanned)
		l.spare.put(in)
		if s.phase == phaseClosed || len(s.in) > s.scanned {
			return
		}
	}
	if s.more {
		l.read(s, s.gone)
	}
}

// read takes what the client has sent. One buffer a round: a client that sends
// without end waits for its turn behind the others.
func (l *loop) read(s *session, toEnd bool) {
	for s.phase != phaseClosed {
		if !l.readable(s) {
			l.putOff(s)
			return
		}
		if s.scanned < len(s.in) {
			l.again(s) // what it sent before comes first, and no more is kept behind it
			return
		}
		buf := l.buf
		if len(s.in) > readBuffer/2 {
			buf = make([]byte, 2*len(s.in))
		}
		start := copy(buf, s.in)
		n, full, errno := l.readFrom(s.fd, s.tls, buf[start:min(len(buf), start+l.most(s))])
		if errno == syscall.EAGAIN {
			s.more = false
			return
		}
		if errno != 0 {
			l.close(s, cutClient)
			return
		}
		if n == 0 {
			l.clientEOF(s)
			return
		}
		s.site.count.add(statBytesIn, n)
		scanned := s.scanned
		s.in, s.scanned = l.spare.put(s.in), 0
		if s.on.tunnel {
			l.tunnelOut(s, buf[:n])
		} else {
			l.consume(s, buf[:start+n], scanned)
		}
		if full {
			l.again(s)
			return
		}
		if !toEnd {
			s.more = false
			return
		}
	}
}

// most is how much of what a client has sent is read at once.
func (l *loop) most(s *session) int {
	switch {
	case !s.on.shared || s.pin != pinNone:
		return len(l.buf) * 2 // all there is room for
	case s.tls != nil:
		return sharedRead + keptByTLS
	}
	return sharedRead
}

// putOff sees to it that a session which is not to be read now will be.
func (l *loop) putOff(s *session) {
	switch s.phase {
	case phaseIdle:
		l.need(s)
	case phaseWaiting, phasePreparing:
		l.startWaiting(s)
	case phaseAttached:
		switch u := s.up; {
		case u.superseded && !s.on.tunnel && l.drained(u, s):
			l.leave(s)
		case u.share != nil && u.full:
			if !s.parked {
				s.parked = true
				u.share.parked = append(u.share.parked, s)
			}
		case u.share != nil && u.throttled:
			l.readOn(u) // it has more to send
		}
	}
}

// clientEOF does what Redis does with a client that has closed its side, a
// round trip later: what it sent is still executed and answered, then the
// connection ends. Passing the end on lets Redis stop a blocked command.
func (l *loop) clientEOF(s *session) {
	s.eof, s.more = true, false
	if s.on.tunnel && s.up != nil && !s.up.full {
		s.up.endWrites()
		return
	}
	if s.pend == nil || s.up == nil || s.up.full && s.up.share == nil || s.streamed {
		l.close(s, cutNone)
		return
	}
	if s.up.share == nil {
		s.up.endWrites()
	}
}

// send gives bytes to the client, in order. False: the session is closed.
func (l *loop) send(s *session, p []byte) bool {
	if s.phase == phaseClosed {
		return false // its descriptor may be another's by now
	}
	if len(p) == 0 {
		return true
	}
	if s.tls != nil {
		p = l.seal(s.tls, p)
	}
	if len(s.out) == 0 {
		n, errno := rawWrite(s.fd, p)
		if errno != 0 && errno != syscall.EAGAIN {
			l.close(s, cutClient)
			return false
		}
		s.site.count.add(statBytesOut, n)
		p = p[n:]
	}
	if len(p) > 0 {
		s.out = l.spare.join(s.out, p)
		l.unread += len(p)
	}
	return true
}

// flushClient writes what the client's socket did not take before.
func (l *loop) flushClient(s *session) bool {
	n, errno := rawWrite(s.fd, s.out)
	if errno != 0 && errno != syscall.EAGAIN {
		l.close(s, cutClient)
		return false
	}
	s.site.count.add(statBytesOut, n)
	l.unread -= n
	if n < len(s.out) {
		s.out = s.out[:copy(s.out, s.out[n:])]
		return true
	}
	s.out = l.spare.put(s.out)
	if s.closing {
		l.close(s, s.leaving)
		return false
	}
	if s.more || len(s.in) > 0 || s.up != nil && s.up.more {
		l.again(s)
	}
	return true
}

// finish closes the session once everything it is owed has been written.
func (l *loop) finish(s *session, why cut) {
	if s.closing {
		return
	}
	l.detach(s) // nothing may come behind the last word
	s.closing, s.leaving = true, why
	if len(s.out) == 0 {
		l.close(s, why)
	}
}

func (l *loop) releasePending(s *session) {
	if s.pend != nil {
		l.spare.putPending(s.pend)
		s.pend = nil
	}
}
