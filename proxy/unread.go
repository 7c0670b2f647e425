package proxy

// What a client's socket does not take is kept for it, in session.out: as little
// as can be without keeping others waiting, and less while much is kept for all
// together. What is too much even so is let go of by cutting those for whom most
// is kept, as Redis does by its client-output-buffer-limit.

// slowFactor times limits.client_buffer may be kept for a client that goes on
// sending and does not read, until everything is answered and it can be given
// an upstream of its own. Not to read it would be a deadlock with a client
// that sends a whole pipeline before it reads a reply.
const slowFactor = 16

// mostUnread is what one client may come to leave unread though nobody waits
// behind it. The bound for all is never less: one such client alone is not cut.
func (p *Proxy) mostUnread() int { return slowFactor*p.clientBuffer + 2*readBuffer }

// behind tells whether a client does not keep up with what it is sent. While what
// is kept for all is half of what may be, anything that is kept is too much.
func (l *loop) behind(s *session) bool {
	return len(s.out) > l.p.clientBuffer || len(s.out) > 0 && l.unread > l.p.unreadBytes/2
}

// heed notes a client of a shared upstream that does not keep up.
func (l *loop) heed(u *upstream, s *session) {
	if l.behind(s) {
		u.share.slow = s
		s.keepApart(pinLarge)
	}
}

// heldBack tells whether an upstream is not to be read: its client does not keep
// up with what it has been sent, and the pressure is to reach Redis as it would
// on a direct connection. Not while strangers wait behind that client.
func (l *loop) heldBack(u *upstream) bool {
	if u.share == nil {
		return l.behind(u.s)
	}
	s := u.share.slow
	if s != nil && (s.up != u || !l.behind(s)) {
		u.share.slow, s = nil, nil
	}
	return s != nil && !u.share.owners.other(s) && (!s.more || len(s.out) > slowFactor*l.p.clientBuffer)
}

// relieve sees to it that what is kept for all is within its bound. It is called
// between one event and the next, when no session is being dealt with.
func (l *loop) relieve() {
	for l.unread > l.p.unreadBytes {
		l.close(l.slowest(), cutSlow)
	}
}

// slowest is the session for which most is kept.
func (l *loop) slowest() (most *session) {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && (most == nil || len(s.out) > len(most.out)) {
			most = s
		}
	}
	return most
}
