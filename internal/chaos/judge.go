package chaos

import (
	"fmt"
	"slices"
	"time"
)

// judge compares the evidence with the final data.
func judge(f Fault, clients []*client, t *timeline, d *data) (*Verdict, error) {
	v := &Verdict{Fault: f.Name, Clients: len(clients), Errors: make(map[string]int), State: make(map[string]int),
		Events: t.happened(), Details: []string{}, noted: make(map[string]int)}
	takes := make(map[string][]take)
	present := make(map[doubt]bool)
	for _, c := range clients {
		v.count(&c.evidence)
		for _, k := range c.takes {
			takes[k.key] = append(takes[k.key], k)
		}
	}
	for _, c := range clients {
		for _, s := range c.series {
			left, err := d.left(s)
			if err != nil {
				return nil, err
			}
			astray, err := d.astray(s)
			if err != nil {
				return nil, err
			}
			v.series(c.name, s, place{left, astray, takes[s.key]}, t)
			for _, id := range left {
				present[doubt{s.key, id}] = true
			}
		}
		if err := v.review(c.reviews, d); err != nil {
			return nil, err
		}
	}
	for _, c := range clients {
		v.doubts(c.name, c.doubts, present)
	}
	v.topics(clients, t)
	v.KeptGap = longest(v.kept, t.from, t.end)
	v.Resumed, v.Outage = resumed(v.kept, t), t.outage()
	return v, nil
}

// count adds what needs no comparison.
func (v *Verdict) count(e *evidence) {
	v.Answers += e.answers
	v.Cut += len(e.cuts)
	v.Refused += e.refused
	v.Hung += e.hung
	v.Uncertain += e.errors[uncertain]
	v.Expired += e.errors[expired]
	v.Aged += e.aged
	v.Wrong += len(e.wrong)
	v.Slowest = max(v.Slowest, e.slowest)
	merge(v.State, e.lost)
	merge(v.Errors, e.errors)
	delete(v.Errors, uncertain)
	delete(v.Errors, expired)
	for _, w := range e.wrong {
		v.detail("wrong", "%s", w)
	}
}

// place is what is left of a series: where it belongs, in database 0 instead, and
// in the hands of those who popped from it.
type place struct {
	left, astray []string
	taken        []take
}

// series compares what a client was told about its writes with what is left.
func (v *Verdict) series(owner string, s *series, p place, t *timeline) {
	count := make(map[string]int)
	for _, id := range p.left {
		count[id]++
	}
	for _, k := range p.taken {
		count[k.id]++
	}
	order := make(map[string]int, len(s.writes))
	for i, w := range s.writes {
		order[w.id] = i + 1
		switch {
		case w.outcome == acked && slices.Contains(p.astray, w.id):
			v.State["db"]++
		case w.outcome == acked && count[w.id] == 0:
			v.missing(fmt.Sprintf("%s in %s", w.id, s.key), w.sent, w.done, t)
		case w.outcome == refused && count[w.id] > 0:
			v.Denied++
			v.detail("denied", "%s is in %s", w.id, s.key)
		}
		if w.outcome == acked {
			v.Acked++
			// What a waiter was given is not in the data: it may come from an old master.
			if count[w.id] > 0 && !s.queue {
				v.kept = append(v.kept, w.done)
			}
		}
	}
	for id := range count {
		if order[id] == 0 {
			v.Wrong++
			v.detail("wrong", "%s of %s holds %q, which it never wrote", s.key, owner, id)
		}
	}
	if s.queue {
		v.pops(s, p, order, t)
		return
	}
	v.repeats(s, count)
	if !s.spread {
		v.order(s.key, p.left, order)
	}
}

// missing counts one acknowledged write (or pop) that is not in the data.
func (v *Verdict) missing(what string, sent, done time.Duration, t *timeline) {
	kind := "lost to replication lag"
	switch {
	case sent < t.fence:
		kind = "lost on the wrong side"
		v.LostApart++
	case t.fence > 0 || t.stale(sent, done):
		kind = "lost to an old master"
		v.LostStale++
	default:
		v.LostLag++
	}
	v.detail(kind, "%s, sent %.3fs, acknowledged %.3fs", what, sent.Seconds(), done.Seconds())
}

// repeats counts what is there more than once.
func (v *Verdict) repeats(s *series, count map[string]int) {
	for id, n := range count {
		if n > 1 {
			v.Twice += n - 1
			v.detail("twice", "%s in %s", id, s.key)
		}
	}
}

// order counts what stands behind something that was sent later.
func (v *Verdict) order(key string, ids []string, order map[string]int) {
	last := 0
	for _, id := range ids {
		n := order[id]
		if n == 0 {
			continue
		}
		if n < last {
			v.Disorder++
			v.detail("disorder", "%s in %s", id, key)
		}
		last = n
	}
}

// pops judges a queue. An element that comes a second time after a promotion was
// popped on the old master and the pop is what was lost; without a promotion
// between, it was pushed twice.
func (v *Verdict) pops(s *series, p place, order map[string]int, t *timeline) {
	first := make(map[string]take)
	var ids []string
	again := func(id string, before take, now time.Duration) {
		if t.parted(before.sent, now) {
			v.missing(fmt.Sprintf("the pop of %s from %s", id, s.key), before.sent, before.done, t)
			return
		}
		v.Twice++
		v.detail("twice", "%s in %s", id, s.key)
	}
	for _, k := range p.taken {
		if before, seen := first[k.id]; seen {
			again(k.id, before, k.done)
		} else {
			ids = append(ids, k.id)
		}
		first[k.id] = k
	}
	for _, id := range p.left {
		if before, seen := first[id]; seen {
			again(id, before, t.end)
		}
	}
	v.order(s.key, ids, order)
}

// review counts the invariants that are broken.
func (v *Verdict) review(reviews []review, d *data) error {
	for _, look := range reviews {
		broken, err := look(d)
		if err != nil {
			return err
		}
		v.Broken += len(broken)
		for _, b := range broken {
			v.detail("broken", "%s", b)
		}
	}
	return nil
}

// doubts counts the reads that missed a write that is there after all.
func (v *Verdict) doubts(reader string, doubts []doubt, present map[doubt]bool) {
	for _, b := range doubts {
		if present[b] {
			v.Stale++
			v.detail("stale", "%s did not see %s", reader, b.id)
		}
	}
}

// longest is the longest time between two moments, from the first to the last.
func longest(at []time.Duration, from, end time.Duration) (gap time.Duration) {
	slices.Sort(at)
	last := from
	for _, k := range append(at, end) {
		if k > end {
			k = end
		}
		gap = max(gap, k-last)
		last = max(last, k)
	}
	return gap
}

// resumed is the longest time from a promotion to the first write after it that
// survived: the part of a gap that is not the Sentinels' time to notice and to
// choose. The moments are ascending.
func resumed(kept []time.Duration, t *timeline) (gap time.Duration) {
	for _, p := range t.promotions {
		next, _ := slices.BinarySearch(kept, p)
		if next < len(kept) {
			gap = max(gap, kept[next]-p)
		}
	}
	return gap
}
