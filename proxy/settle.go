package proxy

import "slices"

// lost ends an upstream whose connection has gone and settles what was under
// way on it.
func (l *loop) lost(u *upstream, why string) {
	if u.share != nil {
		l.lostShared(u, why)
		return
	}
	s := u.s
	gaveUp := u.throttled && !u.superseded
	if !u.superseded && !gaveUp {
		s.site.m.tracker.Doubt(u.view, why)
		l.log.Debug().Str("master", s.site.m.name).Str("node", u.view.Master).Str("why", why).Msg("upstream lost")
	}
	s.site.count.add(statUpstreamsLost, 1)
	switch {
	case s.on.tunnel && u.superseded:
		l.finish(s, cutTunnel)
	case s.on.tunnel, s.eof && s.failed == nil:
		l.finish(s, cutNone)
	case gaveUp:
		// We had stopped reading for this client, and Redis has given up on it,
		// as it would have on a direct connection (client-output-buffer-limit).
		l.finish(s, cutSlow)
	default:
		if !u.superseded {
			l.hesitate(s)
		}
		l.leave(s)
	}
}

// leave takes a session off its upstream. What it had sent there and has no
// answer to is settled by the rules of carry; the rest waits for the next one.
func (l *loop) leave(s *session) {
	if u := s.up; u.share != nil && s.pend.awaits() {
		u.leaving = true // it would answer, or go on in the middle of, what is nobody's any more
	}
	if why := l.carry(s); why != cutNone {
		l.close(s, why)
		return
	}
	l.detach(s)
	if s.pend == nil {
		s.unpin()
	} else if s.shares() && s.run > 0 {
		s.pin = s.runWhy
		s.site.count.pins[s.pin].Add(1)
	}
	if !l.inTurn(s) || s.closing {
		return
	}
	if s.eof && s.pend == nil {
		l.finish(s, cutNone)
		return
	}
	if s.pend != nil || s.more || len(s.in) > 0 || s.vec.listens() {
		l.need(s)
	}
}

// detach takes a session off its upstream, if it has one; its own is closed.
func (l *loop) detach(s *session) {
	if s.phase == phaseClosed {
		return
	}
	if u := s.up; u != nil {
		if s.up = nil; u.share != nil {
			l.leaveShared(s, u)
		} else {
			l.dropUpstream(u)
		}
	}
	s.phase = phaseIdle
}

// moveAway notes that what the session has written is on a connection that it
// has no more.
func (s *session) moveAway() {
	s.moved = s.moved || s.wrote || !s.on.shared
	s.wrote = false
}

// maxTries is how many connections in a row may go away over the same command
// before it is no longer sent again.
const maxTries = 3

// carry decides, for each command that was accepted and not answered, what
// becomes of it now that its upstream is left: sent again, or answered with an
// error of ours in its turn. A reason is returned if the client itself cannot
// be kept.
func (l *loop) carry(s *session) cut {
	switch {
	case s.unsure:
		return cutState
	case s.up.tail == tailPaired && s.up.s == s:
		return cutHalfReply
	}
	v := s.vec
	if v != nil && v.watching {
		v.watching, v.broken = false, true
	}
	s.moveAway()
	old := s.pend
	if old == nil || old.empty() {
		l.releasePending(s)
		return cutNone
	}
	states := old.transactions(v != nil && v.multi != nil)
	if v != nil && slices.Contains(states, txExecuting) {
		v.watching, v.broken = false, false // EXEC ends a WATCH, whatever comes of it
	}
	fresh := l.spare.getPending()
	at := old.off
	wrote := false // a write goes to the next upstream
	for i, e := range old.q[old.head:] {
		cmd := old.log[at : at+int(e.size)]
		at += int(e.size)
		if e.kind == kindWait && !wrote && states[i] == txOutside {
			fresh.push(entry{kind: kindAnswer, want: uint16(answerNoReplicas)}, nil)
			continue
		}
		half := s.streamed && i == old.len()-1
		l.carryOne(s, fresh, e, cmd, at <= old.sent && !half, states[i])
		wrote = wrote || !fresh.empty() && fresh.q[len(fresh.q)-1].kind != kindAnswer && s.site.m.writes(cmd)
	}
	if v != nil && v.multi != nil && states[0] == txExecuting {
		v.ended()
	}
	s.solo = s.solo && !fresh.empty()
	if s.streamed {
		s.streamed, s.swallow = false, true
	}
	l.spare.putPending(old)
	if s.pend = fresh; fresh.empty() {
		l.releasePending(s)
	}
	return cutNone
}

// txState is where a pending command stands with a transaction.
type txState uint8

const (
	txOutside   txState = iota
	txQueued            // in one whose EXEC has not left: nothing of it has run
	txExecuting         // in one whose EXEC has left: nobody knows whether it ran
)

// transactions finds the state of each pending command; open tells whether a
// MULTI is in force before the first.
func (p *pending) transactions(open bool) []txState {
	states := make([]txState, p.len())
	start, end := 0, p.off
	for i, e := range p.q[p.head:] {
		end += int(e.size)
		if e.kind == kindMulti && !open {
			open, start = true, i
		}
		if !open {
			continue
		}
		states[i] = txQueued
		switch e.kind {
		case kindExec:
			if end <= p.sent && e.flag&flagAgain == 0 {
				for j := start; j <= i; j++ {
					states[j] = txExecuting
				}
			}
			open = false
		case kindDiscard, kindNullExec, kindReset:
			open = false
		}
	}
	return states
}

// open tells whether the next reply belongs into a transaction, in which an error
// means that the command was not queued.
func (p *pending) open(before bool) bool {
	states := p.transactions(before)
	return p.pair-p.head < len(states) && states[p.pair-p.head] != txOutside
}

// carryOne settles one command; sent tells whether it has left whole.
func (l *loop) carryOne(s *session, to *pending, e entry, cmd []byte, sent bool, state txState) {
	want, refused := e.want, e.flag&flagAgain != 0
	e.flag &^= flagAgain
	e.want = 0
	give := func(a answer) {
		if state == txQueued {
			// Redis aborts a transaction of which a command was refused; so
			// must the next node, and what it says is replaced by our answer.
			to.push(entry{kind: kindPoison, want: uint16(a)}, poison)
			return
		}
		to.push(entry{kind: kindAnswer, want: uint16(a)}, nil)
	}
	again := func(cmd []byte) {
		s.site.count.add(statResent, 1)
		to.push(e, cmd)
	}
	switch {
	case e.kind == kindAnswer:
		e.want = want
		to.push(e, nil) // its command, if it was one, is never sent again
	case e.kind == kindPoison:
		e.want = want
		to.push(e, cmd)
	case e.kind == kindOwn:
	case e.kind == kindProve:
		s.solo = false
	case e.kind == kindSilent && (e.flag&flagLarge != 0 || sent && !refused):
		s.site.count.add(statAnswered, 1) // nobody awaits a reply
	case e.flag&flagLarge != 0 && (!sent || refused):
		give(answerTooLarge)
	case e.flag&flagLarge != 0 || state == txExecuting:
		give(answerUncertain)
	case e.kind == kindExec && s.vec != nil && s.vec.broken && (!sent || refused):
		e.kind = kindNullExec
		again(discard)
	case !sent || refused:
		again(cmd)
	case len(cmd) == 0:
		give(answerUncertain)
	case s.tries > maxTries:
		// It alone may be what ends the connections; those behind it go again.
		s.tries = 0
		give(answerUncertain)
	case state == txQueued || e.kind.resendable():
		again(cmd)
	default:
		rest := s.site.m.reissue(cmd, l.now.Sub(s.sentAt))
		switch {
		case rest != nil && !s.gone:
			again(rest)
		case s.site.m.readOnly(cmd):
			again(cmd)
		default:
			give(answerUncertain)
		}
	}
}

// inTurn gives the client the answers of our own whose turn has come, and goes
// on where the session waited for everything to be answered. False: it is
// closed.
func (l *loop) inTurn(s *session) bool {
	for p := s.pend; p != nil; {
		if l.popSilent(s); p.empty() {
			break
		}
		if !p.ours() {
			return true
		}
		a := answer(p.q[p.head].want)
		s.site.count.refuse(a.reason())
		p.pop()
		if !l.send(s, a.text(s)) {
			return false
		}
	}
	l.releasePending(s)
	if !s.waitingSince.IsZero() && (s.phase == phaseAttached || s.phase == phaseIdle) {
		l.waited(s) // what waited was answered by us
	}
	return l.quiet(s)
}

// quiet is called when a session has nothing outstanding. False: it is closed.
func (l *loop) quiet(s *session) bool {
	switch {
	case s.failed != nil:
		l.endProtocol(s)
		return s.phase != phaseClosed
	case s.prove:
		s.prove = false
		l.proveRole(s)
	case l.draining && s.atRest():
		l.finish(s, cutDrain)
		return s.phase != phaseClosed
	case s.eof:
		l.finish(s, cutNone)
		return s.phase != phaseClosed
	case s.stalled:
		s.stalled = false
		l.again(s)
	}
	return true
}

// settle does, after a buffer of replies has been given, what they led to.
func (l *loop) settle(u *upstream) {
	s := u.s
	if !l.inTurn(s) || s.up != u {
		return
	}
	switch {
	case u.stray:
		l.close(s, cutStray)
	case u.denied || u.superseded && l.drained(u, s):
		l.leave(s)
	case s.more:
		l.again(s)
	}
	l.part(s)
}

// drained tells whether an upstream that may no longer be written to has
// brought a session everything. One that brings messages is kept until there is
// another.
func (l *loop) drained(u *upstream, s *session) bool {
	p := s.pend
	due := p != nil && p.sentWhole()
	if u.share != nil {
		// The rest of a command that is written in part may yet be written, if
		// the same process serves again.
		return !due && (p == nil || len(p.begunRest()) == 0)
	}
	return !due && u.tail == tailHeld && len(u.in) == 0 && (u.leaving || !s.vec.listens() || p != nil || s.more)
}

// proveRole asks the node for its role on a connection that could not be asked
// before its client had logged in; nothing else travels until it has said it.
func (l *loop) proveRole(s *session) {
	proto := "2"
	if s.vec.resp3() {
		proto = "3"
	}
	s.solo = true
	s.pend = l.spare.getPending()
	s.pend.push(entry{kind: kindProve}, command("HELLO", proto))
	l.flush(s)
}
