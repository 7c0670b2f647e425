package proxy

import (
	"fmt"
	"testing"
)

// books are what one loop has counted, and what it really has in flight.
type books struct {
	accepted, answered, refused, cut, unexpected uint64
	inFlight                                     int // by the queues of its sessions
	sessions, upstreams, waiting                 int // by its descriptors
	unread                                       int // bytes kept for clients, by their buffers
}

func (b books) balance() error {
	if b.accepted != b.answered+b.refused+b.cut+uint64(b.inFlight) {
		return fmt.Errorf("accepted %d is not answered %d + refused %d + cut %d + in flight %d",
			b.accepted, b.answered, b.refused, b.cut, b.inFlight)
	}
	if b.unexpected != 0 {
		return fmt.Errorf("%d replies that nobody had asked for", b.unexpected)
	}
	return nil
}

// books are taken on the loop's goroutine, between two events: they balance at
// any time, not only at rest.
func (l *loop) books() (b books) {
	for _, site := range l.sites {
		c := &site.count
		b.accepted += c.get(statAccepted)
		b.answered += c.get(statAnswered)
		b.cut += c.get(statCutCommands)
		b.unexpected += c.get(statUnexpected)
		for r := refused(0); r < refusedCount; r++ {
			b.refused += c.refusals[r].Load()
		}
	}
	for _, slot := range l.slots {
		if slot.u != nil {
			b.upstreams++
		}
		s := slot.s
		if s == nil {
			continue
		}
		b.sessions++
		b.unread += len(s.out)
		if !s.waitingSince.IsZero() {
			b.waiting++
		}
		if s.pend != nil && !s.on.tunnel {
			b.inFlight += s.pend.due()
		}
	}
	return b
}

// conserved fails if some command is in no book: accepted = answered + refused +
// cut + in flight, where the last is counted in the queues themselves.
func (w *world) conserved() {
	w.t.Helper()
	sessions, waiting := 0, 0
	for i, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			b := l.books()
			if err := b.balance(); err != nil {
				w.t.Errorf("loop %d: %v", i, err)
			}
			if b.sessions != l.sessions {
				w.t.Errorf("loop %d counts %d sessions and has %d", i, l.sessions, b.sessions)
			}
			if b.unread != l.unread {
				w.t.Errorf("loop %d counts %d unread bytes and has %d", i, l.unread, b.unread)
			}
			sessions += b.sessions
			waiting += b.waiting
		})
	}
}

// ended fails if something is still open or in flight after the drain.
func (w *world) ended() {
	st := w.p.Stats()
	if st.Clients != 0 || st.Upstreams != 0 {
		w.t.Errorf("after the end there are %d clients and %d upstreams", st.Clients, st.Upstreams)
	}
	for _, m := range st.Masters {
		if m.InFlight != 0 || m.Waiting != 0 {
			w.t.Errorf("after the end %d commands are in flight and %d clients wait", m.InFlight, m.Waiting)
		}
	}
	for i, l := range w.p.loops {
		if err := l.books().balance(); err != nil {
			w.t.Errorf("after the end, loop %d: %v", i, err)
		}
		if l.preparing != 0 {
			w.t.Errorf("after the end, loop %d still prepares %d upstreams", i, l.preparing)
		}
		if l.heldBytes != 0 {
			w.t.Errorf("after the end, loop %d still counts %d held bytes", i, l.heldBytes)
		}
		if l.unread != 0 {
			w.t.Errorf("after the end, loop %d still counts %d unread bytes", i, l.unread)
		}
	}
}

// TestTheBooksCanFail: a check that always passes is none.
func TestTheBooksCanFail(t *testing.T) {
	for _, b := range []books{
		{accepted: 1},
		{answered: 1},
		{accepted: 3, answered: 1, refused: 1},
		{accepted: 2, answered: 1, cut: 1, inFlight: 1},
		{unexpected: 1},
	} {
		if b.balance() == nil {
			t.Errorf("%+v balances", b)
		}
	}
	b := books{accepted: 10, answered: 5, refused: 2, cut: 1, inFlight: 2}
	if err := b.balance(); err != nil {
		t.Error(err)
	}
}
