package proxy

import (
	"bytes"

	"holdfast/resp"
)

// settled deals with one complete reply (only its end, when it was passed on as
// it came) and tells whether it goes to the client. It changes what is pending
// and what the connection is, but neither sends nor closes: replies before this
// one have not been given yet.
func (l *loop) settled(u *upstream, frame []byte) bool {
	s := u.s
	large := u.tail
	u.tail = tailHeld
	switch large {
	case tailUnpaired:
		return true
	case tailDropped:
		if s.pend != nil && s.pend.waiting() != nil {
			s.pend.setAside()
		}
		return false
	case tailHeld:
		if u.unasked(frame) {
			return true
		}
	case tailPaired:
		frame = nil
	}
	p, typ := s.pend, u.rep.Type()
	if p == nil || p.waiting() == nil {
		u.stray, u.superseded = true, true
		s.site.count.add(statUnexpected, 1)
		l.log.Error().Str("master", s.site.m.name).Str("node", u.view.Master).Str("reply", firstLine(frame[:min(len(frame), 60)])).
			Msg("a reply that nobody waits for; the client is cut")
		return false
	}
	e := p.waiting()
	if e.kind == kindPlain && typ != '-' && (!u.refusing || u.share != nil && p.pair == p.head) && (s.vec == nil || s.vec.multi == nil) {
		l.answered(s)
		return true
	}
	return l.settledSpecial(u, e, typ, frame)
}

// maxRefusals is how often in a row a client's command is sent again before its
// refusal is believed: some two seconds, in which a real demotion has long
// reached the View. (A script may return an error that only looks like one.)
const maxRefusals = 10

// settledSpecial is settled for a reply that says something about the
// connection or the node.
func (l *loop) settledSpecial(u *upstream, e *entry, typ byte, frame []byte) bool {
	s, p := u.s, u.s.pend
	if typ == '-' && bytes.HasPrefix(frame, []byte("-ERR Protocol error")) {
		u.soiled = true // Redis closes it now
	}
	if u.refusing && (u.share == nil || p.pair > p.head || l.refusal(s, frame)) {
		l.settledByReplica(u, e, frame)
		return false
	}
	if e.kind == kindOwn {
		p.pop()
		return false
	}
	if typ == '-' && l.refusal(s, frame) && s.tries < maxRefusals {
		u.refusing, u.superseded = true, true
		if u.share != nil && s.tries > 0 {
			s.keepApart(pinRefused) // once more, and where it concerns no strangers
		}
		s.site.m.tracker.Doubt(u.view, "answered "+firstLine(frame))
		u.leaving = true
		l.hesitate(s)
		p.setAside()
		return false
	}
	if t := s.vec; t != nil && t.multi != nil && string(frame) == "+QUEUED\r\n" {
		t.queued(e.kind, p.command(), l.p.replayBytes)
		s.solo = false
		l.answered(s)
		return true
	}
	switch e.kind {
	case kindNullExec:
		l.settledNullExec(s, e, typ)
		return false
	case kindPoison:
		e.kind = kindAnswer
		return false
	case kindProve:
		l.settledProve(u, typ, frame)
		return false
	case kindSubscribe, kindUnsubscribe:
		// Confirmations were dealt with before; this is an error.
	case kindExec:
		// An error that is no EXECABORT, of arity say, leaves the transaction open.
		u.soiled = u.soiled || s.vec != nil && s.vec.multi != nil && s.vec.multi.stateful
		if s.vec != nil && s.vec.multi != nil && (typ != '-' || bytes.HasPrefix(frame, []byte("-EXECABORT"))) {
			s.unsure = !s.vec.executed(frame) || s.unsure
		}
	case kindAuth, kindHello, kindReset:
		l.settledLogin(u, e.kind, typ, frame)
	default:
		if typ != '-' && e.kind.stateful() {
			l.settledState(s, e.kind, p)
		}
	}
	l.answered(s)
	return true
}

func (l *loop) settledState(s *session, k kind, p *pending) {
	v := l.state(s)
	switch k {
	case kindMulti:
		v.begun()
	case kindDiscard:
		v.ended()
	default:
		if cmd := p.command(); len(cmd) > 0 {
			v.acked(k, cmd)
			s.unsure = s.unsure || v.redirects()
		}
	}
}

// settledLogin: the command travelled alone, so nothing else is pending.
func (l *loop) settledLogin(u *upstream, k kind, typ byte, frame []byte) {
	s := u.s
	s.solo = false
	if typ == '-' {
		// Redis 7.0 may have logged in before it found fault with the rest.
		u.soiled = true
		if u.awry {
			u.superseded, u.leaving = true, true
		}
		return
	}
	u.awry = false
	if k == kindReset {
		u.soiled = u.soiled || s.forGood
		s.forGood = false
		s.vec, s.mute, s.skip = s.vec.reset(), false, false
		s.authed = s.on.cfg.Password == ""
		s.req.Unauthenticated(!s.authed)
		if s.on.login().Password != "" {
			// RESET also drops the login that holdfast made: begin anew.
			u.superseded, u.leaving = true, true
		}
		return
	}
	l.state(s).acked(k, s.pend.command())
	switch {
	case u.proven:
	case k == kindAuth:
		s.prove = true
	default:
		u.proven = true
		if role := roleOf(frame); role != "master" {
			u.deny(l, "says role:"+role)
		}
	}
}

// settledProve: the answer to our own HELLO after the client's AUTH.
func (l *loop) settledProve(u *upstream, typ byte, frame []byte) {
	u.s.solo = false
	u.proven = true
	u.s.pend.pop()
	if typ != '-' {
		if role := roleOf(frame); role != "master" {
			u.deny(l, "says role:"+role)
		}
	}
}

func (u *upstream) deny(l *loop, why string) {
	u.denied, u.superseded, u.leaving = true, true, true
	u.s.site.m.tracker.Doubt(u.view, why)
	u.s.site.count.add(statDenied, 1)
}

// settledNullExec: the DISCARD that stood in for an EXEC has been answered.
func (l *loop) settledNullExec(s *session, e *entry, typ byte) {
	e.kind, e.want = kindAnswer, uint16(answerNull)
	if typ == '-' {
		e.want = uint16(answerNoMulti) // and the WATCH stays lost
		return
	}
	s.vec.ended()
}

// settledByReplica: after a node has refused one command for want of the role,
// everything it answers on that connection only tells what was not executed.
func (l *loop) settledByReplica(u *upstream, e *entry, frame []byte) {
	p := u.s.pend
	again := e.kind == kindMulti || e.kind.resendable() || l.refusal(u.s, frame) ||
		bytes.HasPrefix(frame, []byte("+QUEUED")) || bytes.HasPrefix(frame, []byte("-EXECABORT")) ||
		len(frame) > 0 && frame[0] == '-' && p.open(u.s.vec != nil && u.s.vec.multi != nil) ||
		e.size > 0 && u.s.site.m.readOnly(p.command())
	p.setAside()
	switch {
	case again:
	case e.kind == kindExec:
		e.flag &^= flagAgain // it ran: carry settles its whole transaction
	default:
		e.kind, e.want = kindAnswer, uint16(answerUncertain)
	}
}

// refusal tells whether an error means that the command was not executed
// because the node is no master, or not yet one.
func (l *loop) refusal(s *session, frame []byte) bool {
	// An EXEC that is refused names the reason behind its own prefix.
	if rest, ok := bytes.CutPrefix(frame, []byte("-EXECABORT Transaction discarded because of: ")); ok {
		frame = append([]byte{'-'}, rest...)
	}
	for _, prefix := range refusals {
		if bytes.HasPrefix(frame, prefix) {
			return true
		}
	}
	// Too few replicas is an ordinary answer of a master; of one that is being
	// replaced it is not.
	return bytes.HasPrefix(frame, []byte("-NOREPLICAS")) && !s.site.m.tracker.View().Serving()
}

var refusals = [][]byte{
	[]byte("-READONLY "), []byte("-MASTERDOWN "), []byte("-LOADING "), []byte("-REDIRECT "),
	// CLIENT UNBLOCK ... ERROR has the same prefix and is meant for the client.
	[]byte("-UNBLOCKED force unblock from blocking operation, instance state changed"),
}

// answered settles the first entry with a reply of the server.
func (l *loop) answered(s *session) {
	s.pend.pop()
	l.popSilent(s)
	s.tries = 0
	s.site.count.add(statAnswered, 1)
}

// popSilent settles commands whose replies the client has switched off, as soon
// as they are written and it is their turn.
func (l *loop) popSilent(s *session) {
	p := s.pend
	if s.up != nil && len(s.up.unsent) > 0 {
		return // the last of them may be in it
	}
	for p.head < len(p.q) && p.pair == p.head && p.q[p.head].kind == kindSilent && p.off+int(p.q[p.head].size) <= p.sent {
		if s.streamed && p.len() == 1 {
			return // it has not been received whole
		}
		p.pop()
		s.site.count.add(statAnswered, 1)
	}
}

// unasked deals with frames that answer nothing: pushes, messages to a RESP2
// subscriber, MONITOR's lines; and with confirmations of subscriptions, of
// which one command has many.
func (u *upstream) unasked(frame []byte) bool {
	s := u.s
	switch typ := u.rep.Type(); {
	case typ == '>':
	case typ == '*' && s.expectsMessages():
	case typ == '+' && s.vec != nil && s.vec.monitor:
		return len(frame) > 1 && '0' <= frame[1] && frame[1] <= '9'
	default:
		return false
	}
	what, channel := firstTwo(frame)
	switch {
	case bytes.HasSuffix(what, []byte("subscribe")):
		u.confirm(what, channel)
		return true
	case u.rep.Type() == '>':
		return true
	}
	return bytes.Equal(what, []byte("message")) || bytes.Equal(what, []byte("pmessage")) || bytes.Equal(what, []byte("smessage"))
}

// confirm notes a confirmation, and that the command it belongs to is answered
// when it was the last.
func (u *upstream) confirm(what, channel []byte) {
	s := u.s
	v := s.l.state(s)
	var e *entry
	if s.pend != nil {
		if e = s.pend.waiting(); e != nil && e.kind != kindSubscribe && e.kind != kindUnsubscribe {
			e = nil
		}
	}
	if e != nil && e.want == 0 {
		e.want = uint16(min(v.confirmations(resp.Args(nil, s.pend.command())), 1<<16-1))
	}
	v.confirmed(what, channel)
	if e == nil {
		return
	}
	if e.want--; e.want == 0 {
		s.l.answered(s)
	}
}

// expectsMessages tells whether an array may be a message to a RESP2 subscriber.
func (s *session) expectsMessages() bool {
	if s.vec.resp3() {
		return false
	}
	if s.vec.subscribed() {
		return true
	}
	e := (*entry)(nil)
	if s.pend != nil {
		e = s.pend.waiting()
	}
	return e != nil && (e.kind == kindSubscribe || e.kind == kindUnsubscribe)
}

// firstTwo is the first two elements of an aggregate as text.
func firstTwo(frame []byte) (a, b []byte) {
	i := 0
	for e := range resp.Elements(frame) {
		text, _ := resp.String(e)
		if i == 0 {
			a = text
		} else {
			return a, text
		}
		i++
	}
	return a, nil
}

// roleOf finds the role in HELLO's reply; servers before 6.0 have no HELLO.
func roleOf(frame []byte) string {
	key := ""
	for e := range resp.Elements(frame) {
		text, _ := resp.String(e)
		if key == "role" {
			return string(text)
		}
		if key = string(text); key == "" {
			key = "-"
		}
	}
	return ""
}

func firstLine(frame []byte) string {
	line, _, _ := bytes.Cut(frame, []byte("\r\n"))
	return string(line)
}
