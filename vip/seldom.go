package vip

import "time"

// again is how often one and the same complaint is logged while it lasts.
const again = time.Minute

// mostComplaints bounds the kinds remembered.
const mostComplaints = 64

// seldom decides what is worth logging: the first of a kind, and then one in a
// while. It is used by one goroutine.
type seldom struct {
	last map[string]time.Time
}

// worth says whether to log a complaint of this kind.
func (s *seldom) worth(now time.Time, kind string) bool {
	if last, ok := s.last[kind]; ok && now.Sub(last) < again {
		return false
	}
	if s.last == nil || len(s.last) >= mostComplaints {
		s.last = make(map[string]time.Time)
	}
	s.last[kind] = now
	return true
}
