package sentinel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// hearsay is how long a new configuration may take to reach every Sentinel. They
// tell each other every two seconds; this is twice that and some more. Until
// then their older word does not count against it.
const hearsay = 5 * time.Second

// configuration is what Sentinels agree on: an address under an epoch.
type configuration struct {
	addr  string
	epoch uint64
}

// witness is what the machine remembers of one Sentinel, by the address it is
// watched at. A Sentinel that is watched at two addresses is two witnesses, and
// counts once.
type witness struct {
	member
	report    report    // the last one, zero before the first
	announced uint64    // the epoch of its last +new-epoch
	trying    uint64    // the epoch of its last +try-failover for this master; 0 if that was missed
	warned    time.Time // when it last said that it was elected, if that puts up no fence yet
	owing     time.Time // since when it owes an answer that is overdue; zero: it does not
}

// key tells Sentinels apart.
func (w *witness) key() string { return cmp.Or(w.id, w.addr) }

// String names the Sentinel in a reason or a log.
func (w *witness) String() string { return "Sentinel " + w.addr }

// enlist takes in the Sentinels that are watched now.
func (m *machine) enlist(now time.Time, members []member) {
	m.at(now)
	gone := maps.Clone(m.witnesses)
	for _, s := range members {
		delete(gone, s.addr)
		w := m.witnesses[s.addr]
		if w == nil {
			w = &witness{member: s}
			m.witnesses[s.addr] = w
		}
		w.id = cmp.Or(w.report.id, s.id)
	}
	for addr := range gone {
		delete(m.witnesses, addr)
	}
	m.decide()
}

// report takes in what a Sentinel answered.
func (m *machine) report(now time.Time, r report) {
	m.at(now)
	w := m.witnesses[r.via]
	if w == nil || r.asked.Before(w.report.asked) {
		return
	}
	w.id, w.report, w.owing = r.id, r, time.Time{}
	if !r.unknown {
		m.noteDemotions(r)
		m.weigh()
		m.follow(r)
		m.judge(r)
	}
	m.decide()
}

// miss takes in that a Sentinel has not answered what it was asked then, not yet or
// not at all. That is no reason to disbelieve it. But the others are asked too, and
// with fewer than a quorum that answers at once, the master is looked at closely.
func (m *machine) miss(now time.Time, via string, asked time.Time) {
	m.at(now)
	w := m.witnesses[via]
	if w == nil || !w.report.asked.Before(asked) {
		return
	}
	if w.owing.IsZero() {
		w.owing = asked
		m.wantPoll = true
	}
	m.decide()
}

// bench is who has a say now.
type bench struct {
	known   int      // Sentinels of this master, dead ones too: Sentinel itself never forgets them
	sighted []report // of each that has answered lately, its last report
	prompt  int      // of those, the ones that owe no answer
	quorum  int      // Sentinels needed to elect a failover's leader: the quorum, or the majority if that is more
}

// majority of the known Sentinels, dead or not.
func (b bench) majority() int { return b.known/2 + 1 }

// backing counts the Sentinels in sight that name addr under this epoch.
func (b bench) backing(addr string, epoch uint64) int {
	n := 0
	for _, r := range b.sighted {
		if r.addr == addr && r.epoch == epoch {
			n++
		}
	}
	return n
}

// bench counts the Sentinels. One that says it has no such master does not count.
func (m *machine) bench() bench {
	last := make(map[string]*witness) // of each Sentinel, the witness that heard last
	for _, addr := range slices.Sorted(maps.Keys(m.witnesses)) {
		w := m.witnesses[addr]
		if other := last[w.key()]; other == nil || w.report.heard.After(other.report.heard) {
			last[w.key()] = w
		}
	}
	var b bench
	strangers := make(map[string]bool) // named by others, and not watched yet
	for _, key := range slices.Sorted(maps.Keys(last)) {
		w := last[key]
		r := w.report
		if r.unknown {
			continue
		}
		b.known++
		b.quorum = max(b.quorum, r.quorum)
		if !m.inSight(r) {
			continue
		}
		b.sighted = append(b.sighted, r)
		if w.owing.IsZero() {
			b.prompt++
		}
		for _, peer := range r.peers {
			if m.witnesses[peer.addr] == nil && last[peer.id] == nil {
				strangers[cmp.Or(peer.id, peer.addr)] = true
			}
		}
	}
	b.known += len(strangers)
	b.quorum = max(b.quorum, b.majority())
	return b
}

// inSight says whether a report is young enough for its Sentinel to be alive.
func (m *machine) inSight(r report) bool {
	return !r.heard.IsZero() && m.now.Sub(r.heard) < m.rules.sight()
}

// weigh decides which configuration to believe, from what all Sentinels in sight
// say now: the newest. Where that is not one address, a majority decides.
func (m *machine) weigh() {
	b := m.bench()
	newest, ok := m.newest(b)
	switch {
	case !ok:
	case m.addr == "" && !m.heardEnough(b):
	case m.addr == "" || newest > m.epoch:
		m.choose(b, newest)
	case m.outvoted(b):
	case newest == m.epoch:
		m.choose(b, newest)
	}
}

// newest is the newest epoch that is claimed, except that of a configuration that
// was outvoted, unless by now a majority has it.
func (m *machine) newest(b bench) (epoch uint64, ok bool) {
	for _, r := range b.sighted {
		if r.addr == "" || r.names(m.overruled) && b.backing(r.addr, r.epoch) < b.majority() {
			continue
		}
		epoch, ok = max(epoch, r.epoch), true
	}
	return epoch, ok
}

// heardEnough says whether the first configuration may be believed: the first
// Sentinel to answer may be the one that is behind, so a majority is waited for,
// but not for ever.
func (m *machine) heardEnough(b bench) bool {
	if m.firstHeard.IsZero() {
		m.firstHeard = m.now
	}
	return len(b.sighted) >= b.majority() || m.now.Sub(m.firstHeard) >= m.rules.patience()
}

// choose adopts the address that the newest epoch stands for. If two failovers
// ended under one epoch, which forced ones can, no Sentinel will ever give way:
// from then on nobody is believed under that epoch or an older one until a
// majority of the known Sentinels agrees.
func (m *machine) choose(b bench, epoch uint64) {
	named := make(map[string][]string)
	for _, r := range b.sighted {
		if r.epoch == epoch && r.addr != "" {
			named[r.addr] = append(named[r.addr], r.via)
		}
	}
	if epoch == m.epoch && m.addr != "" && named[m.addr] == nil {
		named[m.addr] = nil // believed already, under the same epoch
	}
	disputed := len(named) > 1 || m.conflict != "" && epoch <= m.disputed
	for _, addr := range slices.Sorted(maps.Keys(named)) {
		if !disputed || len(named[addr]) >= b.majority() {
			m.adopt(addr, epoch, "named by the newest configuration")
			return
		}
	}
	if m.conflict != "" && epoch < m.disputed {
		return // the newer dispute is what stands in the way
	}
	var sides []string
	for _, addr := range slices.Sorted(maps.Keys(named)) {
		sides = append(sides, fmt.Sprintf("%s (%d of %d)", addr, len(named[addr]), b.known))
	}
	m.disputed = epoch
	m.conflict = fmt.Sprintf("the Sentinels name different masters under epoch %d: %s", epoch, strings.Join(sides, ", "))
	m.say(loud, "conflict", "%s", m.conflict)
}

// outvoted accepts an older configuration when a majority of the known Sentinels
// has it: the set was rebuilt, or the leader of a failover died before it told
// anybody. As long as one Sentinel names the master under its newer epoch, or is
// about to, a master that proves itself is not unseated that way.
func (m *machine) outvoted(b bench) bool {
	votes := make(map[string]int)
	epochs := make(map[string]uint64)
	held := false
	for _, r := range b.sighted {
		if r.epoch >= m.epoch || decisive(r.stage) && r.candidate() == m.addr {
			held = true
		} else if r.addr != "" && r.asked.Sub(m.adopted) >= hearsay {
			votes[r.addr]++
			epochs[r.addr] = max(epochs[r.addr], r.epoch)
		}
	}
	proved := m.view.State == Serving || m.proofs[m.addr].verdict == isMaster || m.proofs[m.addr].verdict == isLocked
	if held && proved {
		return false
	}
	for addr, n := range votes { // at most one has a majority
		if n >= b.majority() {
			m.say(loud, "older", "%d of %d Sentinels name %s under epoch %d, older than %d: believed, because they are the majority",
				n, b.known, addr, epochs[addr], m.epoch)
			m.overruled = configuration{m.addr, m.epoch}
			m.adopt(addr, epochs[addr], "named by a majority under an older epoch")
			delete(m.left, addr)
			return true
		}
	}
	return false
}

// judge counts and tells what is not believed of a report.
func (m *machine) judge(r report) {
	if r.addr == "" {
		m.counts.Disbelieved["unresolved address"]++
		return // the watcher tells why
	}
	if m.addr == "" || r.addr == m.addr {
		return
	}
	kind := "disputed epoch"
	if r.epoch < m.epoch {
		if r.asked.Sub(m.adopted) < hearsay {
			return // it will hear
		}
		kind = "older epoch"
	}
	m.counts.Disbelieved[kind]++
	m.say(quiet, kind, "not believed: %s names %s under epoch %d; %s under epoch %d is known", m.witnesses[r.via], r.addr, r.epoch, m.addr, m.epoch)
}
