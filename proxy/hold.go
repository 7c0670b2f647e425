package proxy

import (
	"context"
	"time"

	"holdfast/sentinel"
)

// Holding: a session that needs an upstream and has none is not read. There is
// no queue of commands and nobody who evicts; a beat looks, while anybody
// waits, for those that have waited long enough.

// need lets a session wait for an upstream.
func (l *loop) need(s *session) {
	if s.phase != phaseIdle || s.closing {
		return
	}
	if s.shares() && l.mayAttach(s) && l.join(s) {
		return
	}
	s.phase = phaseWaiting
	l.startWaiting(s)
	l.pursue(s)
}

// startWaiting begins the time that a client with something to send waits. Those
// that only listen have none and wait without an end.
func (l *loop) startWaiting(s *session) {
	if s.waitingSince.IsZero() && (s.pend != nil || s.more || len(s.in) > 0) {
		s.waitingSince = l.now
		s.site.m.waiting.Add(1)
		s.weight = len(s.in)
		if s.pend != nil {
			s.weight += s.pend.kept()
		}
		l.heldBytes += s.weight
	}
	l.arm()
}

// waited ends it, and counts it as a hold if it was for a View to serve and not
// just for a connection.
func (l *loop) waited(s *session) {
	if v := s.site.view; !v.Serving() || v.Since.After(s.waitingSince) {
		s.site.count.add(statHolds, 1)
		s.site.count.add(statHeldNanos, int(l.now.Sub(s.waitingSince)))
	}
	l.stopWaiting(s)
}

func (l *loop) stopWaiting(s *session) {
	if !s.waitingSince.IsZero() {
		l.heldBytes -= s.weight
		s.waitingSince, s.weight = time.Time{}, 0
		s.site.m.waiting.Add(-1)
	}
}

// hesitate keeps a session that was refused from trying again at once; it is
// its own pause, because what refuses one client need not concern the others.
func (l *loop) hesitate(s *session) {
	s.notBefore = l.now.Add(min(firstBackoff<<min(s.tries, 10), lastBackoff))
	s.tries++
}

// arm makes sure that there is a beat.
func (l *loop) arm() { l.armWithin(beat) }

func (l *loop) armWithin(d time.Duration) {
	if due := l.now.Add(d); !l.armed || due.Before(l.due) {
		l.armed, l.due = true, due
		l.timer.Reset(d)
	}
}

// tick looks at everybody who waits.
func (l *loop) tick() {
	l.armed = false
	if l.draining {
		l.arm()
		if l.now.After(l.deadline) {
			l.cutAll()
			return
		}
	}
	for _, site := range l.sites {
		l.thin(site, false)
	}
	for fd := range l.slots {
		s := l.slots[fd].s
		if s != nil && l.draining && s.atRest() {
			l.finish(s, cutDrain)
			continue
		}
		if s == nil || !s.waits() {
			continue
		}
		l.arm()
		if s.gone && s.held() {
			l.close(s, cutClient)
			continue
		}
		if s.phase == phaseWaiting {
			l.pursueOrRest(s)
		}
		if !s.waitingSince.IsZero() && (l.now.Sub(s.waitingSince) >= l.p.maxWait || l.heldBytes > l.p.holdBytes) {
			l.expire(s)
		}
	}
}

// pursueOrRest goes on looking for an upstream, unless what the session wanted it
// for has waited too long.
func (l *loop) pursueOrRest(s *session) {
	if !s.waitingSince.IsZero() || s.on.tunnel || s.vec.listens() {
		l.pursue(s)
		return
	}
	s.phase = phaseIdle
	s.unpin()
}

// waits tells whether the session waits for an upstream, or for the one it has to
// be written to again.
func (s *session) waits() bool {
	return s.phase == phaseWaiting || s.phase == phasePreparing || s.phase == phaseAttached && !s.waitingSince.IsZero()
}

// expire answers all that a session has waiting. What it sends from now on
// waits anew.
func (l *loop) expire(s *session) {
	if s.on.tunnel {
		l.close(s, cutTunnel)
		return
	}
	if s.phase == phaseAttached {
		// A part of its command is written. The rest never will be, so that it is
		// certain not to be executed.
		if l.leave(s); !s.waits() {
			return
		}
	}
	if s.phase == phasePreparing && s.vec != nil && s.vec.multi != nil {
		s.phase = phaseWaiting // what is being prepared has the transaction as it was
	}
	if p := s.pend; p != nil {
		for i := p.head; i < len(p.q); i++ {
			switch e := &p.q[i]; e.kind {
			case kindAnswer:
			case kindPoison:
				s.vec.shed(e.kind)
				e.kind = kindAnswer
			case kindSilent, kindProve, kindOwn:
				p.sent = len(p.log)
			default:
				s.vec.shed(e.kind)
				e.kind, e.want = kindAnswer, uint16(answerExpired)
			}
		}
	}
	s.solo, s.shedding = false, true
	if l.inTurn(s) {
		l.resume(s)
	}
	if s.shedding = false; s.phase != phaseClosed && !s.waitingSince.IsZero() {
		l.waited(s)
	}
}

// onView is told of each new View of a master.
func (l *loop) onView(index int, v *sentinel.View) {
	site := l.sites[index]
	old := site.view
	if v.Seq <= old.Seq {
		return
	}
	site.cancel() // what is being prepared is for the View before
	site.ctx, site.cancel = context.WithCancel(context.Background())
	site.view, site.gate, site.backoff, site.trouble = v, time.Time{}, 0, ""
	site.firsts, site.others = 0, l.now.Add(listenersFirst)
	l.viewOfShared(site, v)
	for _, listens := range []bool{true, false} {
		l.tellSessions(site, v, listens)
	}
}

// tellSessions tells those that listen, or all others, of their master's View.
func (l *loop) tellSessions(site *site, v *sentinel.View, listens bool) {
	for fd := range l.slots {
		s := l.slots[fd].s
		if s == nil || s.site != site || s.vec.listens() != listens {
			continue
		}
		if s.on.shared && s.up == nil {
			s.moveAway()
		}
		switch {
		case s.up != nil && s.up.view != v:
			l.supersede(s, s.up, v)
		case s.up != nil && s.up.share != nil:
			if !s.waitingSince.IsZero() {
				l.waited(s)
			}
			l.again(s) // it is not superseded any more
		case s.phase == phaseWaiting:
			l.pursue(s)
		case s.phase == phaseIdle && listens:
			l.need(s)
		}
	}
}

// supersede deals with an upstream whose View is no longer the newest.
func (l *loop) supersede(s *session, u *upstream, v *sentinel.View) {
	switch {
	case s.on.tunnel && !v.Serving():
		u.superseded = true
	case u.provenAgain(v):
		u.view, u.superseded = v, false
		l.flush(s)
		l.again(s)
	case v.Serving() && u.share != nil:
		l.leave(s)
	case v.Serving():
		u.superseded = true
		l.lost(u, "")
	default:
		u.superseded = true
		if s.streamed || l.drained(u, s) {
			l.leave(s)
		}
	}
}

// provenAgain tells whether v proves the very process that u is connected to:
// its connections are as good as new ones.
func (u *upstream) provenAgain(v *sentinel.View) bool {
	return v.Serving() && v.Master == u.view.Master && v.RunID == u.view.RunID && v.RunID != "" && !u.leaving
}

// viewOfShared tells shared upstreams of a View before their sessions hear of
// it; a spare is good only for the View it was made under.
func (l *loop) viewOfShared(site *site, v *sentinel.View) {
	for _, t := range site.trunks {
		for _, u := range t.ups {
			if u.provenAgain(v) {
				u.view, u.superseded = v, false
			} else {
				u.superseded = true
				u.leaving = u.leaving || v.Serving()
			}
			l.look(u)
		}
	}
	l.thin(site, true)
}
