package proxy

import (
	"errors"

	"holdfast/resp"
)

// consume takes in what a client has sent: buf, of which the first `at` bytes
// have been scanned before. What cannot be accepted yet is kept. A run of plain
// commands between two clients like any other, which is nearly all there is, is
// taken in at once.
func (l *loop) consume(s *session, buf []byte, at int) {
	run, pos := 0, 0 // buf[run:pos] is such a run, still to be put into the log
	table := l.swift(s)
	for at < len(buf) {
		if at == pos && table != nil && s.pend != nil && s.pend.len() >= sharedInFlight {
			l.logRun(s, buf[run:pos])
			s.in, s.scanned = l.spare.join(s.in, buf[pos:]), 0
			l.forward(s)
			return
		}
		n, done, err := s.req.Scan(buf[at:])
		at += n
		if err == nil && !done {
			break
		}
		if table != nil && err == nil && l.takeSwiftly(s, table, buf[pos:at]) {
			pos = at
			continue
		}
		l.logRun(s, buf[run:pos])
		if run = at; err != nil {
			l.refuseProtocol(s, err)
			return
		}
		if !l.take(s, buf[pos:at]) {
			if s.phase != phaseClosed {
				s.in, s.scanned = l.spare.join(s.in, buf[pos:]), 0
				l.forward(s)
			}
			return
		}
		pos = at
		table = l.swift(s)
	}
	l.logRun(s, buf[run:pos])
	l.takePart(s, buf[pos:])
	l.forward(s)
}

// swift tells whether plain commands of the session need nothing but to be passed
// on, by the table that says which are.
func (l *loop) swift(s *session) *table {
	u := s.up
	if u == nil || u.share == nil || u.superseded || s.phase != phaseAttached || !s.authed ||
		s.stalled || s.solo || s.swallow || s.streamed || s.shedding || s.run > 0 ||
		s.pend == nil && u.strained(l.now) {
		return nil
	}
	return s.site.m.table.Load()
}

// takeSwiftly accepts one command, but for its bytes.
func (l *loop) takeSwiftly(s *session, t *table, frame []byte) bool {
	if s.req.Inline() {
		return false
	}
	r := s.site.routes.find(t, resp.Name(frame))
	if !r.swift {
		return false
	}
	if s.pend == nil {
		s.pend = l.spare.getPending()
	}
	if r.write {
		s.wrote, s.moved = true, false
	}
	s.pend.enqueue(entry{size: uint32(len(frame))})
	l.taken++
	return true
}

// logRun keeps the bytes of what was accepted swiftly.
func (l *loop) logRun(s *session, run []byte) {
	if l.taken > 0 {
		s.pend.keep(run)
		s.site.count.add(statAccepted, l.taken)
		l.taken = 0
	}
}

// forward sends on what was accepted, or leaves an upstream on which an answer
// of ours has made that impossible.
func (l *loop) forward(s *session) {
	l.flush(s)
	if u := s.up; u != nil && u.leaving && l.drained(u, s) {
		l.leave(s)
	}
	if s.phase == phaseWaiting || s.phase == phasePreparing {
		l.startWaiting(s)
	}
}

// take deals with one complete request; false: it has to wait, or the session
// is closed.
func (l *loop) take(s *session, frame []byte) bool {
	switch {
	case s.swallow:
		s.swallow = false
		return true
	case s.streamed:
		s.streamed = false
		s.pend.grow(frame)
		return true
	case s.req.Empty():
		return true
	}
	return l.admit(s, frame)
}

// takePart keeps the beginning of a request, or, when it is large, begins to
// pass it on.
func (l *loop) takePart(s *session, rest []byte) {
	switch {
	case len(rest) == 0 || s.swallow:
	case s.streamed:
		s.pend.grow(rest)
	case len(rest) <= keepCommand:
		s.in = l.spare.join(s.in, rest)
		s.scanned = len(s.in)
	case !s.authed:
		l.refuseProtocol(s, errStranger)
	case s.shedding:
		s.accepted()
		s.vec.shed(kindPlain)
		l.answer(s, answerExpired)
		s.swallow = true
	default:
		l.takeLarge(s, rest)
	}
}

//lint:ignore ST1005 the text is Redis' own
var errStranger = errors.New("Protocol error: unauthenticated bulk length")

// takeLarge begins to pass on a command too large to be kept. A command that
// changes the connection is kept longer, because it must be seen whole.
func (l *loop) takeLarge(s *session, rest []byte) {
	k := classify(resp.Name(rest))
	if s.shares() {
		l.pinTo(s, pinLarge, 0)
	}
	if s.up != nil && s.site.m.tracker.View() != s.up.view {
		s.up.superseded = true // the letter that says so is on its way
	}
	wait := s.stalled || s.solo || s.phase != phaseAttached || !s.up.usable()
	if wait || k.stateful() && len(rest) <= l.p.replayBytes {
		s.in = l.spare.join(s.in, rest)
		s.scanned = len(s.in)
		s.stalled = s.stalled || s.solo
		if s.phase == phaseIdle {
			l.need(s)
		}
		return
	}
	if k.stateful() && s.pend != nil {
		s.in = l.spare.join(s.in, rest)
		s.scanned, s.stalled = len(s.in), true
		return
	}
	if k.stateful() {
		s.accepted()
		l.answer(s, answerStateTooLarge)
		s.swallow = true
		return
	}
	if k = kindPlain; s.mute || s.skip {
		k, s.skip = kindSilent, false
	}
	l.push(s, k, rest)
	s.pend.q[len(s.pend.q)-1].flag |= flagLarge
	s.streamed = true
}

// admit accepts one command, with its answer or its place in the queue; false:
// it has to wait.
func (l *loop) admit(s *session, frame []byte) bool {
	if s.stalled || s.solo {
		s.stalled = true
		return false
	}
	k := classify(resp.Name(frame))
	switch {
	case k == kindQuit:
		return l.admitQuit(s)
	case k == kindWeb:
		return l.admitWeb(s)
	case !s.authed:
		return l.admitStranger(s, k, frame)
	case s.shedding:
		s.accepted()
		s.vec.shed(k)
		l.answer(s, answerExpired)
		return s.phase != phaseClosed
	case s.on.shared && !s.forGood:
		if done, ok := l.admitAlone(s, k, frame); done {
			return ok
		}
	}
	switch {
	case !l.takesPlace(s, k, frame):
		return false
	case k == kindPlain && !s.mute && !s.skip:
		s.moved = s.moved && !s.site.m.writes(frame)
		l.push(s, k, frame)
		return true
	}
	return l.admitSpecial(s, k, frame)
}

func (l *loop) admitSpecial(s *session, k kind, frame []byte) bool {
	switch k {
	case kindReplica:
		if s.pend != nil {
			s.stalled = true
			return false
		}
		s.accepted()
		l.answer(s, answerReplica)
		return true
	case kindAuth, kindHello, kindReset:
		// Redis since 7.2 gives no reply to a failed AUTH while others are
		// pending, so these travel alone.
		if s.pend != nil {
			s.stalled = true
			return false
		}
		if s.on.cfg.Password != "" && k != kindReset {
			return l.admitLogin(s, k, frame)
		}
		s.solo = true
	case kindExec:
		if s.vec != nil && s.vec.broken {
			l.push(s, kindNullExec, discard)
			return true
		}
	case kindWait:
		// WAIT asks about the writes of its connection. Where this one has
		// made none, Redis would truthfully say that all replicas have them.
		if s.moved && s.pend != nil {
			s.stalled = true
			return false
		}
		if s.moved && (s.vec == nil || s.vec.multi == nil) {
			s.accepted()
			l.answer(s, answerNoReplicas)
			return true
		}
		if s.on.shared && s.pend == nil && s.plain() {
			// Its writes were made on another connection. Any command sets the
			// offset that WAIT asks about to the present one.
			l.pushOwn(s, ping)
		}
	case kindScript:
		s.site.m.scripts.note(frame)
		s.moved = false
	case kindClient:
		if done, ok := l.admitReply(s, frame); done {
			return ok
		}
	}
	if s.silences(k) {
		s.unsure = s.unsure || k.stateful()
		s.solo = false
		k = kindSilent
	}
	s.skip = false
	l.push(s, k, frame)
	return true
}

// silences tells whether CLIENT REPLY keeps this command from being answered.
// RESET ends it first, and confirmations of subscriptions are pushed regardless.
func (s *session) silences(k kind) bool {
	switch k {
	case kindSubscribe, kindUnsubscribe:
		return false
	case kindReset:
		return s.skip
	}
	return s.mute || s.skip
}

var (
	discard = command("DISCARD")
	ping    = command("PING")
)

// admitReply follows CLIENT REPLY, which changes how many replies come. ok is
// admit's result, if it was that.
func (l *loop) admitReply(s *session, frame []byte) (done, ok bool) {
	args := resp.Args(nil, frame)
	if len(args) != 3 || !is(args[1], "reply") {
		return false, false
	}
	if s.pend != nil {
		s.stalled = true
		return true, false
	}
	switch {
	case s.vec != nil && s.vec.multi != nil:
		// It would run in the middle of EXEC, and EXEC's reply end there.
		s.accepted()
		l.answer(s, answerReplyInMulti)
		return true, true
	case s.vec.subscribed() && !s.vec.resp3():
		return false, false // refused, with an error that is answered
	case is(args[2], "on"):
		s.mute, s.skip = false, false
		l.state(s).mute = false
		l.push(s, kindPlain, frame)
	case is(args[2], "off"):
		s.mute = true
		l.state(s).mute = true
		l.push(s, kindSilent, frame)
	case is(args[2], "skip"):
		l.push(s, kindSilent, frame)
		s.skip = !s.mute
	default:
		return false, false
	}
	return true, true
}

// admitQuit answers as Redis does and ends the session, in its turn.
func (l *loop) admitQuit(s *session) bool {
	if s.pend != nil {
		s.stalled = true
		return false
	}
	s.accepted()
	s.site.count.add(statAnswered, 1)
	if !s.mute && !l.send(s, []byte("+OK\r\n")) {
		return false
	}
	l.finish(s, cutNone)
	return false
}

// admitWeb ends a client that speaks HTTP, as Redis does (securityWarningCommand):
// what follows may be commands that a stranger has a browser send.
func (l *loop) admitWeb(s *session) bool {
	if s.pend != nil {
		s.stalled = true
		return false
	}
	if l.now.Sub(l.warned) >= repeatTrouble {
		l.warned = l.now
		l.log.Warn().Str("listener", s.on.cfg.Address).Str("client", peerAddress(s.fd)).
			Msg("a client has sent POST or Host: and is ended; somebody may be trying to have a browser or a server speak to Redis")
	}
	s.accepted()
	s.site.count.refuse(refusedProtocol)
	l.finish(s, cutWeb)
	return false
}

// push queues a command for the upstream.
func (l *loop) push(s *session, k kind, cmd []byte) {
	if s.pend == nil {
		s.pend = l.spare.getPending()
	}
	s.accepted()
	s.pend.push(entry{kind: k}, cmd)
}

// state is the session's vector, made when it is first needed.
func (l *loop) state(s *session) *vector {
	if s.vec == nil {
		s.vec = &vector{}
	}
	return s.vec
}

// refuseProtocol answers a malformed request with Redis' own words, after what
// is still due, and ends the session, as Redis does.
func (l *loop) refuseProtocol(s *session, err error) {
	s.in, s.scanned = l.spare.put(s.in), 0
	s.more, s.eof, s.failed = false, true, err
	if s.streamed {
		// The node has the beginning of it and must see no more.
		s.streamed = false
		s.pend.drop()
		s.site.count.add(statCutCommands, 1)
		s.up.superseded, s.up.leaving = true, true
	} else {
		l.flush(s)
	}
	if s.phase != phaseClosed && (s.pend == nil || s.pend.empty()) {
		l.inTurn(s)
	}
}

func (l *loop) endProtocol(s *session) {
	if s.closing {
		return
	}
	s.accepted()
	s.site.count.refuse(refusedProtocol)
	text := "-ERR " + s.failed.Error() + "\r\n"
	if pe, ok := s.failed.(*resp.ProtocolError); ok {
		text = pe.Text()
	}
	if l.send(s, []byte(text)) {
		l.finish(s, cutNone)
	}
}
