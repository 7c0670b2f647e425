package proxy

import (
	"syscall"
	"time"
)

// sharing is what an upstream has when it carries the commands of many. Each
// session keeps its own commands, as it does on an upstream of its own; here is
// only whose turn it is, to be written and to be answered. While an answer is
// being dealt with, upstream.s is whose it is.
type sharing struct {
	trunk    *trunk
	members  int
	owners   owners
	writers  []place    // with commands to be written, in turn
	rest     []byte     // of a command that was written in part when its client went away
	parked   []*session // not read on while the socket takes no more
	progress time.Time  // the last answer, or the first command after all were answered
	slow     *session   // does not take its replies
	listed   bool       // in loop.dirty
	lost     bool       // its connection has gone
}

// place is one among those that have something to be written. It is void once
// the session has left, or has a later one.
type place struct {
	s  *session
	no uint32
}

func (p place) valid(u *upstream) bool { return p.s.up == u && p.s.queued && p.s.place == p.no }

const (
	// stallTime: who waits longer than this for one answer holds up strangers;
	// those who have nothing outstanding go on over another upstream.
	stallTime = 50 * time.Millisecond
	// sharedInFlight bounds what one client may have outstanding where others
	// wait behind it, in commands. Redis answers them in order, 64 KiB in a turn of
	// its own loop (NET_MAX_WRITES_PER_EVENT): what one client has asked for, and
	// does not even read, may be a long way to go for those behind.
	sharedInFlight = 256
	// sharedRead bounds what is read of such a client at once, and so what is kept
	// of it until it may have more outstanding: a value of 64 KiB fits in.
	sharedRead = 68 << 10
)

func (sh *sharing) stalled(now time.Time) bool {
	return !sh.owners.empty() && now.Sub(sh.progress) > stallTime
}

// strained tells whether a session with nothing outstanding does better to
// choose again: a stranger's command holds this upstream up, or did so with the
// first one, for which this was made.
func (u *upstream) strained(now time.Time) bool {
	sh := u.share
	return sh.stalled(now) || u != sh.trunk.ups[0] && !sh.trunk.ups[0].share.stalled(now)
}

// look has the upstream looked after at the end of the round: what was queued is
// written at once, so that a node sees batches.
func (l *loop) look(u *upstream) {
	if !u.share.listed {
		u.share.listed = true
		l.dirty = append(l.dirty, u)
	}
}

// queue notes that a session has something to be written.
func (l *loop) queue(s *session, u *upstream) {
	if s.queued || s.pend == nil || len(s.pend.unsent()) == 0 {
		return
	}
	s.queued = true
	s.place++
	u.share.writers = append(u.share.writers, place{s, s.place})
	l.look(u)
}

// tend writes, and ends an upstream that nobody needs any more.
func (l *loop) tend(u *upstream) {
	sh := u.share
	if sh == nil {
		return
	}
	sh.listed = false
	l.flushShared(u)
	l.halt(u)
	if u.superseded && sh.owners.empty() && sh.members > 0 {
		l.everyMember(u, l.leave)
	}
	if sh.members == 0 && (u.superseded || sh.owners.empty() && len(sh.rest) == 0) {
		l.retire(u)
	}
}

// halt has the client wait of whose command a part is written when the View ends,
// and to whom nothing is due before it: only if the same process serves again will
// there be an answer.
func (l *loop) halt(u *upstream) {
	if !u.superseded || len(u.share.writers) == 0 {
		return
	}
	w := u.share.writers[0] // no other's is begun
	if w.valid(u) && len(w.s.pend.begunRest()) > 0 && !w.s.pend.sentWhole() {
		l.startWaiting(w.s)
	}
}

func (l *loop) everyMember(u *upstream, do func(*session)) {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.up == u {
			do(s)
		}
	}
}

// flushShared is flush for many: it gathers what the writers have and writes it.
// What does not get written stays with its session, so that a superseded View
// leaves no doubt about what was sent.
func (l *loop) flushShared(u *upstream) {
	sh := u.share
	for !u.full && !u.superseded && (len(sh.writers) > 0 || len(sh.rest) > 0 || len(u.unsent) > 0) {
		if u.site.m.tracker.View() != u.view {
			u.superseded = true // the letter that says so is on its way
			return
		}
		out := l.gather(u)
		n := 0
		if len(out) > 0 || len(u.unsent) > 0 {
			var errno syscall.Errno
			if n, u.full, errno = l.writeTo(u, out); errno != 0 && errno != syscall.EAGAIN {
				l.lost(u, errno.Error())
				return
			}
		}
		l.wrote(u, n)
	}
}

// gather collects what is to be written next: a buffer full, or a TLS record.
func (l *loop) gather(u *upstream) []byte {
	room := cap(l.out)
	if u.tls != nil {
		room = oneRecord
	}
	rest := u.share.rest
	out := append(l.out[:0], rest[:min(len(rest), room)]...)
	for _, w := range u.share.writers {
		if len(out) == room {
			break
		}
		if w.valid(u) {
			b := w.s.pend.unsent()
			out = append(out, b[:min(len(b), room-len(out))]...)
		}
	}
	return out
}

// wrote shares out n written bytes among those who had them to write.
func (l *loop) wrote(u *upstream, n int) {
	sh := u.share
	if sh.owners.empty() {
		sh.progress = l.now
	}
	k := min(n, len(sh.rest))
	if sh.rest, n = sh.rest[k:], n-k; len(sh.rest) == 0 {
		sh.rest = nil
	}
	done := 0
	for _, w := range sh.writers {
		if s := w.s; w.valid(u) {
			k := min(n, len(s.pend.unsent()))
			sh.owners.add(s, s.pend.begin(k))
			n -= k
			s.sentAt = l.now
			if s.pend.kept() > l.p.replayBytes {
				s.pend.forget()
			}
			if len(s.pend.unsent()) > 0 {
				break
			}
			s.queued = false
		}
		done++
	}
	if u.throttled {
		l.readOn(u) // there may be others behind the one that it was for
	}
	left := copy(sh.writers, sh.writers[done:])
	clear(sh.writers[left:])
	sh.writers = sh.writers[:left]
}

// leaveShared takes a session off. What it has written of a command must be
// completed, or the next one's would be taken for it.
func (l *loop) leaveShared(s *session, u *upstream) {
	s.queued, s.parked = false, false // what stands there for it is void
	if s.pend != nil {
		u.share.rest = append(u.share.rest, s.pend.begunRest()...)
		u.leaving = u.leaving || u.superseded && len(u.share.rest) > 0
	}
	u.share.members--
	l.look(u)
}

// sharedEvent is upstreamEvent for a shared upstream.
func (l *loop) sharedEvent(u *upstream, ev uint32) {
	if ev&evWrite != 0 && u.full {
		u.full = false
		l.look(u)
		for i, s := range u.share.parked {
			u.share.parked[i], s.parked = nil, false
			if s.phase != phaseClosed {
				l.again(s)
			}
		}
		u.share.parked = u.share.parked[:0]
	}
	if ev&evRead != 0 {
		u.more = true
		if ev&evGone != 0 {
			u.ending = true
		}
		l.readUpstream(u)
	}
}

// sharedReplies is replies for many: each goes to the session whose turn it is,
// and all that come for one in a row go in one piece.
func (l *loop) sharedReplies(u *upstream, buf []byte, at int) {
	sh := u.share
	run, pos := 0, 0
	var to *session
	for at < len(buf) {
		n, done, err := u.rep.Scan(buf[at:])
		at += n
		if err != nil {
			l.deliver(u, to, buf[run:pos])
			l.lost(u, "reply is not RESP: "+err.Error())
			return
		}
		if !done {
			break
		}
		s := sh.owners.next()
		if s == nil || u.rep.Type() == '>' {
			l.deliver(u, to, buf[run:pos])
			l.stray(u, buf[pos:at])
			return
		}
		if s != to {
			l.deliver(u, to, buf[run:pos])
			to, run = s, pos
		}
		sh.owners.pop()
		if l.answeredSwiftly(u, s) {
			pos = at
			continue
		}
		if s.up == u && (s.pend == nil || s.pend.waiting() == nil) {
			l.deliver(u, to, buf[run:pos])
			l.stray(u, buf[pos:at])
			return
		}
		if !l.paired(u, s, buf[pos:at]) {
			l.send(s, buf[run:pos])
			run = at
		}
		pos = at
		if s.up == u && s.pend != nil && s.pend.ours() {
			if l.send(s, buf[run:at]) {
				l.inTurn(s)
			}
			run = at
		}
	}
	l.deliver(u, to, buf[run:pos])
	l.sharedRest(u, buf[pos:])
}

// answeredSwiftly settles the reply to a plain command with nothing of ours
// behind it.
func (l *loop) answeredSwiftly(u *upstream, s *session) bool {
	if s.up != u || u.tail != tailHeld || u.refusing || u.rep.Type() == '-' {
		return false
	}
	p := s.pend
	if p == nil || p.pair >= len(p.q) {
		return false
	}
	if p.q[p.pair].kind != kindPlain || p.pair+1 < len(p.q) && p.q[p.pair+1].kind == kindAnswer {
		return false
	}
	p.pop()
	l.settledSwiftly++
	return true
}

// paired settles the reply that is due to s; false: it does not get it.
func (l *loop) paired(u *upstream, s *session, frame []byte) bool {
	if s.up != u { // it has gone away since
		u.tail = tailHeld
		return false
	}
	u.s, u.share.progress = s, l.now
	return l.settled(u, frame)
}

// deliver gives a session what has come for it and does what follows from it.
func (l *loop) deliver(u *upstream, s *session, p []byte) {
	if l.settledSwiftly > 0 {
		s.tries, u.share.progress = 0, l.now
		s.site.count.add(statAnswered, l.settledSwiftly)
		l.settledSwiftly = 0
	}
	if s == nil || s.up != u || !l.send(s, p) || !l.inTurn(s) || s.up != u {
		return
	}
	l.heed(u, s)
	switch {
	case u.superseded && l.drained(u, s):
		l.leave(s)
	case len(s.in) > s.scanned:
		if s.pend.few() {
			l.again(s)
		}
	case s.more:
		l.again(s)
	}
}

// sharedRest keeps the beginning of a reply; a large one is passed on as it
// comes, and its client's next commands travel apart.
func (l *loop) sharedRest(u *upstream, part []byte) {
	if u.superseded || u.share.members == 0 {
		l.look(u)
	}
	if len(part) == 0 {
		return
	}
	s := u.share.owners.next()
	if u.tail == tailHeld {
		switch {
		case len(part) <= keepReply:
			u.in = append(u.in, part...)
			return
		case s == nil || u.rep.Type() == '>':
			l.stray(u, part[:60])
			return
		case s.up != u || u.refusing:
			u.tail = tailDropped
		default:
			u.tail = tailPaired
			s.keepApart(pinLarge)
		}
		u.s = s
	}
	if u.tail == tailPaired && s.up == u && l.send(s, part) {
		l.heed(u, s)
	}
}

// stray ends an upstream that answered what nobody asked: nothing it says can be
// trusted to be anybody's.
func (l *loop) stray(u *upstream, frame []byte) {
	u.site.count.add(statUnexpected, 1)
	l.log.Error().Str("master", u.site.m.name).Str("node", u.view.Master).Str("reply", firstLine(frame[:min(len(frame), 60)])).
		Msg("a reply that nobody waits for; the shared connection is ended")
	l.lost(u, "sent a reply that nobody waits for")
}

// lostShared settles what everybody had under way.
func (l *loop) lostShared(u *upstream, why string) {
	known := u.superseded
	if !known {
		u.site.m.tracker.Doubt(u.view, why)
		l.log.Debug().Str("master", u.site.m.name).Str("node", u.view.Master).Str("why", why).Msg("shared upstream lost")
	}
	u.superseded, u.leaving, u.share.lost = true, true, true
	u.site.count.add(statUpstreamsLost, 1)
	l.everyMember(u, func(s *session) {
		if !known && s.pend != nil && s.pend.sentWhole() {
			if l.hesitate(s); s.tries > 1 {
				s.keepApart(pinRetry) // its command may be what ends the connections
			}
		}
		l.leave(s)
	})
	u.share.owners = owners{}
	l.look(u)
}
