package chaos

import (
	"time"
)

const (
	// resubscribed is how long after an interruption a subscription has to be back.
	resubscribed = 5 * time.Second
	// edge is how long before an interruption was noticed it may already have begun.
	edge = 100 * time.Millisecond
)

// hearing is what one subscriber heard of one publisher.
type hearing struct {
	sent        []message
	got         []arrival
	disruptions []time.Duration // ascending
}

// heard is the result.
type heard struct {
	missed   []int // numbers of messages that were acknowledged after the resubscription, and not delivered
	gap      int   // the others that were acknowledged and not delivered
	twice    int
	disorder int
	silent   bool // the subscription never came back
}

// judge finds the messages that the subscriber should have been given. After each
// disruption the first message that is delivered shows that the subscription is
// back, and five seconds are too long for that.
func (h hearing) judge() (r heard) {
	delivered := make(map[int]bool)
	for i, a := range h.got {
		if delivered[a.seq] {
			r.twice++
		} else if i > 0 && a.seq < h.got[i-1].seq {
			r.disorder++
		}
		delivered[a.seq] = true
	}
	next := 0               // of h.disruptions
	var since time.Duration // the last disruption
	back := false           // a message sent since then was delivered
	for _, m := range h.sent {
		for next < len(h.disruptions) && h.disruptions[next] <= m.done {
			since, back = h.disruptions[next], false
			next++
		}
		late := m.sent > since+resubscribed
		ended := next < len(h.disruptions) && h.disruptions[next]-m.done < edge
		switch {
		case delivered[m.seq]:
			back = back || m.sent >= since
		case m.outcome != acked:
		case (back || late) && !ended:
			r.missed = append(r.missed, m.seq)
			r.silent = r.silent || !back
		default:
			r.gap++
		}
	}
	return r
}

// topics judges all subscribers.
func (v *Verdict) topics(clients []*client, t *timeline) {
	for _, p := range clients {
		if p.sent == nil {
			continue
		}
		for _, s := range clients {
			if s.topic != p.topic || s == p {
				continue
			}
			v.topic(s.name, hearing{p.sent, s.got, t.disruptions(p.cuts, s.cuts)}.judge())
		}
	}
}

func (v *Verdict) topic(subscriber string, r heard) {
	v.Missed += len(r.missed)
	v.GapMessages += r.gap
	v.Twice += r.twice
	v.Disorder += r.disorder
	if r.silent {
		v.State["subscription"]++
	}
	for _, seq := range r.missed {
		v.detail("missed", "%s was never given message %d", subscriber, seq)
	}
}
