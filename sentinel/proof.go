package sentinel

import (
	"fmt"
	"time"

	"holdfast/config"
)

// verdict is what a probe of a node's role came to.
type verdict uint8

const (
	unasked   verdict = iota // there was no probe yet
	isMaster                 // it says role:master
	isReplica                // it says another role
	isLoading                // it says role:master but is still loading its data set
	isLocked                 // it wants a login and holdfast has none: it answers, which is all that can be known
	isMute                   // it answers, but nothing about its role: our login is refused, too many clients, no TLS can be agreed on
	isSilent                 // it does not answer in time, or packets do not reach it
	isGone                   // it refuses or closes the connection
)

var verdictNames = [...]string{"unasked", "master", "replica", "loading", "locked", "mute", "silent", "gone"}

// String is the verdict as a metric's label.
func (v verdict) String() string { return verdictNames[v] }

// proof is the outcome of one probe.
type proof struct {
	addr    string
	asked   time.Time // when the probe began: what it found is younger
	heard   time.Time
	verdict verdict
	why     string // in words: what the node said, or what became of asking it

	// Of a master, as far as it told; see Redis' INFO.
	runID    string
	offset   int64 // master_repl_offset
	keys     int64 // in all databases
	attached int   // replicas that are online and have acknowledged lately
	prompt   int   // of those, the ones that have acknowledged within the last second or so
}

// The pace of probes. A probe is a fresh connection, so that it also proves that
// the node accepts one.
const (
	probeEvery = time.Second            // while serving
	probeAgain = 100 * time.Millisecond // while the answer is awaited in order to serve, or too few Sentinels answer at once
	probeEager = 5 * time.Millisecond   // while the selected replica may be promoted any moment, release: promoted
	probeWary  = 250 * time.Millisecond // while too few Sentinels are in sight, to notice when the replicas are lost too
	probeGap   = 50 * time.Millisecond  // at least, between two probes that evidence from the data path asked for

	// proofLife is for how long a proof may be used to begin serving. One that was
	// got before what it is to prove is as good as the one that serving rests on.
	proofLife = probeEvery
)

// prove takes in the outcome of a probe.
func (m *machine) prove(now time.Time, p proof) {
	m.at(now)
	m.counts.Probes[p.verdict]++
	if p.asked.Before(m.proofs[p.addr].asked) || p.addr != m.addr && !m.isCandidate(p.addr) {
		return
	}
	m.proofs[p.addr] = p
	if p.addr == m.addr {
		if p.asked.After(m.pressed) {
			m.pressed = time.Time{}
		}
		if p.verdict == isMaster {
			m.acquaint(p)
			m.countReplicas(p)
		}
	}
	if f := m.fence(); f != nil && f.candidate == p.addr && p.verdict == isMaster {
		m.promoted(f)
	}
	awaited := m.view.State == Verifying && (p.verdict == isSilent || p.verdict == isGone)
	if p.addr == m.addr && (p.verdict == isMute || awaited) {
		m.say(loud, "mute", "%s", p.why)
	}
	m.decide()
}

// promoted: the selected replica says that it is master. With release: promoted
// that is enough to move, under the epoch that the failover's leader announced.
// Should it die before it tells the others, they will not know of that epoch and
// the majority of them takes us back (see outvoted).
func (m *machine) promoted(f *fence) {
	f.seen(m.now, m.rules.fenceTimeout)
	if m.rules.release == config.Promoted && f.epoch > m.epoch && !m.barred(f.candidate, f.epoch) {
		m.adopt(f.candidate, f.epoch, "selected by the leader of a failover")
	}
}

// acquaint compares a master with what it was when it last proved itself. The
// same address with another run id is another process: what it has lost its
// replicas will lose too, and Sentinel may not have noticed that it was away.
func (m *machine) acquaint(p proof) {
	last := m.met
	m.met = p
	if last.addr != p.addr || last.runID == p.runID || last.runID == "" || p.runID == "" {
		return
	}
	m.counts.Reboots++
	became := fmt.Sprintf("run id %.8s with %d keys at offset %d became %.8s with %d keys at offset %d",
		last.runID, last.keys, last.offset, p.runID, p.keys, p.offset)
	switch {
	case p.keys == 0 && last.keys > 0:
		m.counts.Losses++
		m.say(loud, "reboot", "the master %s came back EMPTY: %s", p.addr, became)
	case p.offset < last.offset:
		m.counts.Losses++
		m.say(loud, "reboot", "the master %s came back with OLDER data: %s", p.addr, became)
	default:
		m.say(loud, "reboot", "the master %s was restarted: %s", p.addr, became)
	}
}

// doubt takes in evidence from the data path against the View with this number:
// the node is asked for its role, soon, but not for every one of ten thousand
// sessions that say the same.
func (m *machine) doubt(now time.Time, seq uint64) {
	m.at(now)
	if seq == m.view.Seq && m.pressed.IsZero() {
		m.pressed = now
		m.counts.Doubts++
	}
}

// probe says which node to ask for its role next, and when; "" is none.
func (m *machine) probe() (addr string, at time.Time) {
	every := probeAgain
	if f := m.fence(); f != nil && f.candidate != "" {
		if m.rules.release == config.Promoted {
			every = probeEager
		}
		return f.candidate, m.proofs[f.candidate].asked.Add(every)
	}
	if m.view.State == Serving || m.view.State == Fenced {
		every = probeEvery
		switch b := m.bench(); {
		case len(b.sighted) < b.quorum:
			every = probeWary
		case b.prompt < b.quorum:
			every = probeAgain
		}
	}
	if !m.pressed.IsZero() {
		every = min(every, probeGap)
	}
	return m.addr, m.proofs[m.addr].asked.Add(every)
}
