package sentinel

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Stats is a snapshot of everything a Group knows. It is the reader's own.
type Stats struct {
	Sentinels []SentinelStats // by address
	Masters   []MasterStats   // by name
}

// SentinelStats is one Sentinel as it is seen from here.
type SentinelStats struct {
	Address    string
	ID         string    // "" until it has answered
	Configured bool      // named in the configuration, not discovered
	Connected  bool      // the last poll was answered
	Subscribed bool      // its events arrive
	Since      time.Time // when Connected last changed
	LastHeard  time.Time // the last answer or event
	Tilt       bool
	Error      string // what is wrong with it now, "" if nothing is
	ErrorCount uint64 // polls and subscriptions that failed
	Polls      uint64 // that were answered
	Events     uint64
	Masters    []Report // by name
}

// Report is what a Sentinel last said about a master.
type Report struct {
	Name      string
	Known     bool   // false: it has no master of that name, and the rest is empty
	Address   string // as a dialable address, "" if it cannot be resolved
	Announced string // host:port in the Sentinel's own words
	Epoch     uint64
	Flags     string
	Stage     string // its failover-state while it leads a failover
	Quorum    int
	Replicas  []Replica
}

// MasterStats is one master.
type MasterStats struct {
	View   View
	Reason string // why it is so now; View.Reason is why it became so

	KnownSentinels   int    // also those that do not answer
	SightedSentinels int    // that answer
	NeededSentinels  int    // to elect the leader of a failover
	CutOff           string // why this may be the smaller side of a partition, so that nothing is served; "": it is not
	Replicas         []Replica
	AttachedReplicas int    // by the master's own count
	Candidate        string // the replica that a failover under way has selected

	Offset    int64     // master_repl_offset at the last proof
	Keys      int64     // at the last proof; -1 not told
	LastProof time.Time // the last time that the master said role:master
	LastProbe string    // how the last probe of it ended, in words

	Failovers     []Failover        // the last ten, oldest first, those that came to nothing too
	Views         uint64            // published
	Moves         uint64            // failovers that ended with another master
	Interruptions uint64            // those that did not
	Reboots       uint64            // changes of the run id without a failover
	Losses        uint64            // of those, with an older or empty data set
	Demotions     uint64            // old masters told to be replicas, failover.demote_old_master
	Undemoted     uint64            // attempts at it that failed
	Doubts        uint64            // probes made because the data path had evidence against the master
	Probes        map[string]uint64 // by outcome: master, replica, loading, locked, mute, silent, gone
	Events        map[string]uint64 // by channel
	Disbelieved   map[string]uint64 // reports by reason
}

// counts are the counters of MasterStats.
type counts struct {
	Views, Moves, Interruptions, Reboots, Losses, Doubts uint64
	Demotions, Undemoted                                 uint64
	Probes                                               [len(verdictNames)]uint64
	Events, Disbelieved                                  map[string]uint64
}

// mostEventKinds bounds the label set that a Sentinel can make us count.
const mostEventKinds = 128

// countEvent counts an event by its channel.
func (m *machine) countEvent(kind string) {
	if _, ok := m.counts.Events[kind]; !ok && len(m.counts.Events) >= mostEventKinds {
		kind = "other"
	}
	m.counts.Events[kind]++
}

// stats is a copy of what the machine knows.
func (m *machine) stats() *MasterStats {
	b := m.bench()
	s := &MasterStats{
		View: m.view, Reason: m.reason,
		KnownSentinels: b.known, SightedSentinels: len(b.sighted), NeededSentinels: b.quorum,
		CutOff:           m.cutOff(b),
		AttachedReplicas: m.replicas.attached,
		LastProbe:        m.proofs[m.addr].why,
		Failovers:        slices.Clone(m.history),
		Views:            m.counts.Views, Moves: m.counts.Moves, Interruptions: m.counts.Interruptions,
		Reboots: m.counts.Reboots, Losses: m.counts.Losses, Doubts: m.counts.Doubts,
		Demotions: m.counts.Demotions, Undemoted: m.counts.Undemoted,
		Probes:      make(map[string]uint64),
		Events:      maps.Clone(m.counts.Events),
		Disbelieved: maps.Clone(m.counts.Disbelieved),
	}
	if m.met.addr == m.addr {
		s.Offset, s.Keys, s.LastProof = m.met.offset, m.met.keys, m.met.heard
	}
	if f := m.fence(); f != nil {
		s.Candidate = f.candidate
	}
	for v, n := range m.counts.Probes {
		if verdict(v) != unasked {
			s.Probes[verdict(v).String()] = n
		}
	}
	for _, r := range b.sighted {
		if r.addr == m.addr && r.epoch == m.epoch {
			s.Replicas = r.replicas
		}
	}
	return s
}

// stats is what the watcher's two goroutines have published.
func (w *watcher) stats() SentinelStats {
	a, h := w.asked.Load(), w.heard.Load()
	s := SentinelStats{
		Address: w.addr, ID: a.id, Configured: w.given,
		Connected: a.connected, Subscribed: h.subscribed, Since: a.since,
		LastHeard: a.heard, Tilt: a.tilt, Error: cmp.Or(a.err, h.err),
		ErrorCount: a.failures + h.failures, Polls: a.polls, Events: h.events,
		Masters: a.masters,
	}
	if h.last.After(s.LastHeard) {
		s.LastHeard = h.last
	}
	return s
}

// publicReport is a report as Stats shows it.
func publicReport(name string, r report) Report {
	return Report{
		Name: name, Known: !r.unknown, Address: r.addr, Announced: r.announced, Epoch: r.epoch,
		Flags: r.flags, Stage: r.stage, Quorum: r.quorum, Replicas: r.replicas,
	}
}
