package sentinel

import (
	"slices"
	"time"
)

// Failover is one time that a master could not be served: from the end of
// Serving until Serving again. Times that do not apply are zero.
type Failover struct {
	From, To string // addresses; the same if the master came back or nothing came of it
	Epoch    uint64 // of To
	Why      string // the first reason
	Began    time.Time
	Doubted  time.Time // the master was found gone, or denied its role
	Fenced   time.Time // a leader was about to promote somebody
	Selected time.Time // it became known whom
	Promoted time.Time // that node was first seen to be promoted
	Switched time.Time // To was believed
	Served   time.Time // To was served: the end
}

// Moved says whether it ended with another master.
func (f Failover) Moved() bool { return f.From != f.To }

// Held is for how long commands had to wait.
func (f Failover) Held() time.Duration { return f.Served.Sub(f.Began) }

// mostFailovers is how many are kept.
const mostFailovers = 10

// episode is the Failover at hand, if there is one.
type episode struct {
	Failover
	active bool
}

// mark notes the first time of something.
func (e *episode) mark(at *time.Time, now time.Time) {
	if e.active && at.IsZero() {
		*at = now
	}
}

// trace takes over what is known of a failover under way.
func (e *episode) trace(f *fence) {
	if e.active && f != nil {
		e.Selected, e.Promoted = f.selected, f.promoted
	}
}

// begin opens an episode when Serving ends.
func (m *machine) begin(why string) {
	if m.view.State == Serving && !m.episode.active {
		m.episode = episode{active: true, Failover: Failover{From: m.view.Master, Began: m.now, Why: why}}
	}
}

// switched notes that another master is about to be believed.
func (m *machine) switched(addr string) {
	m.begin("the newest configuration names " + addr)
	m.episode.trace(m.fence())
	if m.episode.active {
		m.episode.Switched = m.now
	}
}

// finish closes the episode when Serving begins again.
func (m *machine) finish() {
	if !m.episode.active {
		return
	}
	done := m.episode.Failover
	m.episode = episode{}
	done.To, done.Epoch, done.Served = m.addr, m.epoch, m.now
	if done.Moved() {
		m.counts.Moves++
	} else {
		m.counts.Interruptions++
	}
	if len(m.history) == mostFailovers {
		m.history = m.history[1:]
	}
	m.history = append(m.history, done)
}

// Step is one moment of a Failover.
type Step struct {
	Name string
	At   time.Time
}

// Steps are the moments that applied, in the order of their names' meaning.
func (f Failover) Steps() []Step {
	steps := []Step{
		{"doubted", f.Doubted}, {"fenced", f.Fenced}, {"selected", f.Selected},
		{"promoted", f.Promoted}, {"switched", f.Switched}, {"served", f.Served},
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return s.At.IsZero() })
}

// lastFailover is the last that ended.
func (m *machine) lastFailover() (Failover, bool) {
	if len(m.history) == 0 {
		return Failover{}, false
	}
	return m.history[len(m.history)-1], true
}
