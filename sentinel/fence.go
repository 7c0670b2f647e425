package sentinel

import (
	"cmp"
	"fmt"
	"time"
)

// fence is a failover that a Sentinel is leading: until it comes to something,
// nothing new may be written to the master that it is about to replace.
type fence struct {
	by        string    // the leader's id
	raised    time.Time // when the leader last said something that keeps the fence up
	ends      time.Time // after this the old master may go on if it still proves its role
	epoch     uint64    // that the new configuration will have; 0 if its announcement was missed
	candidate string    // the replica selected, "" if not known yet
	selected  time.Time // when that was learnt
	promoted  time.Time // when it was first seen to be promoted
	why       string
	spent     bool // its time has ended; what is polled does not raise it again
}

// fence is the one that is up, the one of the newest failover if there are
// several; nil if there is none.
func (m *machine) fence() *fence {
	var up *fence
	for _, f := range m.fences {
		if f.spent {
			continue
		}
		if up == nil || f.newer(up) {
			up = f
		}
	}
	return up
}

func (f *fence) newer(g *fence) bool {
	return cmp.Or(cmp.Compare(f.epoch, g.epoch), f.raised.Compare(g.raised), cmp.Compare(f.by, g.by)) > 0
}

// isCandidate says whether a failover under way has selected this node.
func (m *machine) isCandidate(addr string) bool {
	for _, f := range m.fences {
		if f.candidate == addr && !f.spent {
			return true
		}
	}
	return false
}

// raise puts a fence up, or confirms the one there is, for the failover that the
// Sentinel by leads. A failover whose outcome is already believed is no reason
// for one: events can be late.
func (m *machine) raise(by string, at time.Time, epoch uint64, candidate, why string) {
	if m.addr == "" || candidate == m.addr || epoch != 0 && epoch <= m.epoch {
		return
	}
	f := m.fences[by]
	if f == nil || f.spent || f.epoch != 0 && epoch > f.epoch {
		f = &fence{by: by, ends: m.now.Add(m.rules.fenceTimeout)}
		m.fences[by] = f
	}
	f.raised, f.why = at, why
	f.epoch = max(f.epoch, epoch)
	f.choose(candidate, m.now)
}

// choose notes the replica that the failover has selected, once it is known.
func (f *fence) choose(candidate string, now time.Time) {
	if candidate != "" && f.candidate != candidate {
		f.candidate, f.selected, f.promoted = candidate, now, time.Time{}
	}
}

// seen notes that the candidate was promoted, which buys the fence its whole time
// again: the Sentinels will hardly go back behind that.
func (f *fence) seen(now time.Time, timeout time.Duration) {
	if f.promoted.IsZero() {
		f.promoted, f.ends = now, now.Add(timeout)
	}
}

// hear takes in an event.
func (m *machine) hear(now time.Time, e event) {
	m.at(now)
	m.countEvent(e.kind)
	w := m.witnesses[e.via]
	if w == nil {
		return // forgotten meanwhile
	}
	m.wantPoll = true
	if !e.heard.Before(w.owing) {
		w.owing = time.Time{}
	}
	switch {
	case e.kind == subscribed:
		w.announced, w.trying = 0, 0 // what was said meanwhile is lost
	case e.kind == "+new-epoch":
		w.announced = e.epoch
	case e.kind == "+try-failover":
		// sentinelStartFailover says +new-epoch just before: that is the epoch of the
		// configuration that this failover will end with.
		w.trying = w.announced
	case m.rules.early(e.stage()):
		w.warned = e.heard
	case decisive(e.stage()):
		candidate := ""
		if e.about == "slave" {
			candidate = e.node
		}
		m.raise(e.id, e.heard, w.trying, candidate, fmt.Sprintf("%s leads a failover: %s", w, e.kind))
	case e.switches():
		m.switching(w, e)
	case e.aborts():
		delete(m.fences, e.id)
		m.order = order{} // what it was for has come to nothing
	case e.urgent() && e.node == m.addr:
		m.pressed = now
	}
	m.decide()
}

// switching fences the old master until the poll that the event causes tells the
// new configuration, or that it is none for us.
func (m *machine) switching(w *witness, e event) {
	if e.node == "" || e.node == m.addr {
		return
	}
	epoch := uint64(0) // a follower's +switch-master does not tell it
	if e.kind == "+promoted-slave" {
		epoch = w.trying
	}
	m.raise(e.id, e.heard, epoch, e.node, fmt.Sprintf("%s says %s, to %s", w, e.kind, e.node))
	if f := m.fences[e.id]; f != nil && f.candidate == e.node {
		f.seen(m.now, m.rules.fenceTimeout)
	}
}

// follow adjusts the fence of the Sentinel that made a report to the stage of its
// failover, which is how a failover is noticed, and its end, when the events are
// lost.
func (m *machine) follow(r report) {
	f, w := m.fences[r.id], m.witnesses[r.via]
	switch {
	case f == nil && m.rules.early(r.stage) && w.isWarning(r.asked):
		// its events arrive: the next one comes in time
	case decisive(r.stage) && f == nil && r.asked.After(m.adopted):
		m.raise(r.id, r.asked, 0, r.candidate(), fmt.Sprintf("%s leads a failover: failover-state %s", w, r.stage))
		m.wantPoll = true
	case decisive(r.stage) && f != nil:
		f.choose(r.candidate(), m.now)
	case !decisive(r.stage) && f != nil && r.asked.After(f.raised):
		delete(m.fences, r.id)
	}
}

// notice is how long after a leader's election its +selected-slave is awaited
// before the polls have to show it: more than two of its ticks.
const notice = 250 * time.Millisecond

// isWarning says whether at this moment the Sentinel's next event is to put the
// fence up.
func (w *witness) isWarning(at time.Time) bool {
	return !w.warned.IsZero() && at.Sub(w.warned) < notice
}

// warned says whether a fence is about to go up.
func (m *machine) warned() bool {
	for _, w := range m.witnesses {
		if w.isWarning(m.now) {
			return true
		}
	}
	return false
}

// expire spends the fences whose time has ended.
func (m *machine) expire() {
	for _, f := range m.fences {
		if !f.spent && !m.now.Before(f.ends) {
			f.spent = true
			m.say(loud, "fence", "the failover led by %.8s has come to nothing within %v: the old master may go on if it proves its role",
				f.by, m.rules.fenceTimeout)
		}
	}
}
