package proxy

import "syscall"

// A tunnel carries bytes and understands none, for TLS that passes through and
// for whatever else is no RESP. So nothing can be held, replayed or resent: a
// tunnel ends with the View it was made under.

// tunnelOut passes a client's bytes on. The log of pending serves as the buffer
// of what the upstream's socket did not take; while there is any, the client is
// not read.
func (l *loop) tunnelOut(s *session, b []byte) {
	if s.pend == nil {
		s.pend = l.spare.getPending()
	}
	s.pend.keep(b)
	l.flushTunnel(s)
}

func (l *loop) flushTunnel(s *session) {
	u, p := s.up, s.pend
	if u == nil || p == nil || u.superseded {
		return
	}
	if s.site.m.tracker.View() != u.view {
		u.superseded = true
		return
	}
	b := p.log[p.off:]
	if len(b) == 0 {
		return
	}
	n, errno := rawWrite(u.fd, b)
	if errno != 0 && errno != syscall.EAGAIN {
		l.lost(u, errno.Error())
		return
	}
	p.off += n
	p.sent = p.off
	if u.full = p.off < len(p.log); !u.full {
		l.releasePending(s)
	}
}
