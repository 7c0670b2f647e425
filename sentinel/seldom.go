package sentinel

import (
	"fmt"
	"time"
)

// How often complaints of one kind are logged while they last: the same words, and
// others.
const (
	againSame  = time.Minute
	againOther = 5 * time.Second
)

// seldom decides what is worth logging: the first of a kind, and then one in a
// while, with the number of those that were not logged. It is used by one
// goroutine.
type seldom struct {
	last map[string]*complaint
}

type complaint struct {
	text    string
	at      time.Time
	skipped int
}

// mostComplaints bounds the kinds remembered.
const mostComplaints = 64

// worth says whether to log this, and how many of the kind were skipped since the
// last one that was.
func (s *seldom) worth(now time.Time, kind, text string) (skipped int, ok bool) {
	c := s.last[kind]
	if c != nil {
		gap := againOther
		if c.text == text {
			gap = againSame
		}
		if now.Sub(c.at) < gap {
			c.skipped++
			return 0, false
		}
	}
	if s.last == nil || len(s.last) >= mostComplaints {
		s.last = make(map[string]*complaint)
	}
	if c != nil {
		skipped = c.skipped
	}
	s.last[kind] = &complaint{text: text, at: now}
	return skipped, true
}

// over forgets a kind, so that the next one is logged at once. It says whether
// there was something to forget.
func (s *seldom) over(kind string) bool {
	_, was := s.last[kind]
	delete(s.last, kind)
	return was
}

// note is something for the log, beside the changes of the View.
type note struct {
	loud bool   // an operator should act on it
	kind string // of one kind and text, few are logged
	text string
}

// How loud a note is.
const (
	quiet = false
	loud  = true
)

// say adds a note.
func (m *machine) say(loud bool, kind, format string, args ...any) {
	m.notes = append(m.notes, note{loud: loud, kind: kind, text: fmt.Sprintf(format, args...)})
}
