package proxy

import "time"

// drain lets each session reach a point of rest and ends it there; what is not
// at rest by the deadline is ended then.
func (l *loop) drain(deadline time.Time) {
	l.draining, l.deadline = true, deadline
	l.arm()
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.atRest() {
			l.finish(s, cutDrain)
		}
	}
}

// atRest tells whether nothing is owed to the client: no answer, no end of a
// command that has begun or waits to be read, no EXEC. A subscriber is at rest.
func (s *session) atRest() bool {
	return !s.on.tunnel && s.pend == nil && len(s.in) == 0 && !s.more && s.waitingSince.IsZero() &&
		!s.closing && (s.vec == nil || s.vec.multi == nil)
}

func (l *loop) cutAll() {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil {
			l.close(s, cutDeadline)
		}
	}
}
