package sentinel

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	"holdfast/config"
)

// rules are the operator's choices, and the times that follow from them.
type rules struct {
	release       config.Release
	fenceTimeout  time.Duration
	requireQuorum bool
	demote        bool // old masters, see demotion
	pollInterval  time.Duration
	timeout       time.Duration
}

// sight is how old a Sentinel's last answer may be for it to be in sight: one
// poll may fail.
func (r rules) sight() time.Duration { return 2*r.pollInterval + r.timeout }

// patience is for how long the first answers wait for those of a majority.
func (r rules) patience() time.Duration { return 2 * r.timeout }

// machine decides who is master of one name. Reports, events, the outcome of
// probes and the time go in; out come the View, whom to probe and when, whether to
// poll, and what to tell. It has no socket, clock or goroutine, and the same input
// gives the same output. It is used by one goroutine.
//
// What it believes is an address under an epoch. What it has proved is what nodes
// said about themselves. The state follows from both, in decide.
type machine struct {
	name  string
	rules rules
	now   time.Time // of the input at hand

	stalled time.Time // this process stood still until then, and was not heard since; zero: no

	// Who says what.
	witnesses  map[string]*witness // by the address they are watched at
	fences     map[string]*fence   // by the id of the Sentinel that leads the failover
	order      order               // an operator's fence, zero: none
	firstHeard time.Time           // when the first report came

	// What is believed.
	addr      string // of the master, "" for none yet
	epoch     uint64
	grounds   string               // why it is believed
	adopted   time.Time            // since when
	served    bool                 // it has been served since then
	lastRun   string               // the run id it was last served with
	left      map[string]departure // masters that were left
	overruled configuration        // the last one that a majority has outvoted
	conflict  string               // who contradicts whom, "" if nobody
	disputed  uint64               // the epoch of the last conflict

	// What is proved.
	proofs   map[string]proof // the last about the master and the candidates
	pressed  time.Time        // an earlier proof does not settle the evidence against the master; zero: none
	met      proof            // the last proof of role:master by whoever was believed
	replicas roster           // of the master, by its own count

	view     View
	reason   string  // why it is so at this moment; the View has the reason it began with
	episode  episode // from leaving Serving to being back
	counts   counts
	history  []Failover
	wantPoll bool
	polled   time.Time // when the machine last wanted it
	notes    []note
}

func newMachine(name string, r rules, now time.Time) *machine {
	return &machine{
		name: name, rules: r, now: now,
		witnesses: make(map[string]*witness),
		fences:    make(map[string]*fence),
		left:      make(map[string]departure),
		proofs:    make(map[string]proof),
		counts:    counts{Events: make(map[string]uint64), Disbelieved: make(map[string]uint64)},
		view:      View{Name: name, Seq: 1, Reason: "no Sentinel has answered yet", Since: now},
	}
}

// at is the time of an input. While a master is served there is one at least with
// every probe, so a long gap is a stop of this whole process or machine, and what
// is known is as old.
func (m *machine) at(now time.Time) {
	gap := now.Sub(m.now)
	m.now = now
	if m.view.State == Serving && gap > 2*(probeEvery+m.rules.timeout) {
		m.stalled = now
		m.wantPoll = true
		m.say(loud, "stall", "this process stood still for %v: the Sentinels and the master are asked before anything is served", gap.Round(time.Millisecond))
	}
}

// outdated says whether what is known is older than a stall of this process: until
// a majority of the Sentinels was heard again, or had time to answer.
func (m *machine) outdated(b bench) bool {
	if m.stalled.IsZero() {
		return false
	}
	again := 0
	for _, r := range b.sighted {
		if r.asked.After(m.stalled) {
			again++
		}
	}
	if again >= b.majority() || m.now.Sub(m.stalled) >= m.rules.patience() {
		m.stalled = time.Time{}
	}
	return !m.stalled.IsZero()
}

// pollEager is the pace of polls while a fence is up or about to go up: should the
// events be lost, the outcome of the failover is not to wait for the usual poll.
const pollEager = 100 * time.Millisecond

// tick lets time pass. It is due at next, or at any other time.
func (m *machine) tick(now time.Time) {
	m.at(now)
	m.expire()
	m.expireOrder()
	m.weigh()
	m.decide()
	if (m.fence() != nil || m.warned()) && !now.Before(m.polled.Add(pollEager)) {
		m.wantPoll = true
	}
}

// poll says whether all Sentinels are to be polled at once.
func (m *machine) poll() bool {
	want := m.wantPoll
	if want {
		m.wantPoll, m.polled = false, m.now
	}
	return want
}

// next is when the passing of time alone may change something; zero: never.
func (m *machine) next() time.Time {
	var first time.Time
	due := func(t time.Time) {
		if t.After(m.now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for _, f := range m.fences {
		due(f.ends)
	}
	due(m.order.ends)
	if m.fence() != nil || m.warned() {
		due(m.polled.Add(pollEager))
	}
	if d, at := m.demotion(); d.old != "" {
		due(at)
	}
	for _, w := range m.witnesses {
		due(w.report.heard.Add(m.rules.sight()))
	}
	if m.addr == "" && !m.firstHeard.IsZero() {
		due(m.firstHeard.Add(m.rules.patience()))
	}
	if !m.stalled.IsZero() {
		due(m.stalled.Add(m.rules.patience()))
	}
	return first
}

// decide puts belief, fences and proofs together. The first case that holds is
// the state; each says why it comes before those below it.
func (m *machine) decide() {
	p := m.proofs[m.addr]
	entering := m.view.State != Serving || m.view.Master != m.addr
	stale := entering && m.now.Sub(p.heard) > proofLife
	f, b := m.fence(), m.bench()
	cut := m.cutOff(b)
	switch {
	case m.addr == "":
		m.becomeUnknown(b)

	// What contradicts the configuration comes before anything about its master.
	case m.conflict != "":
		m.becomeDoubt(m.conflict)
	case m.barred(m.addr, m.epoch):
		m.becomeDoubt(fmt.Sprintf("%s was left under epoch %d and no Sentinel has seen it as a replica since; waiting for a majority to name it",
			m.addr, m.left[m.addr].epoch))

	// A fence holds whatever the old master proves: until it is demoted it goes on
	// saying role:master, and accepting writes that nobody will keep.
	case f != nil:
		m.becomeFenced(f.why)
	case cut != "":
		m.becomeFenced(cut)
	case m.ordered() != "":
		m.becomeFenced(m.ordered())
	case m.outdated(b):
		m.becomeDoubt("this process stood still, and what it knows is as old")

	// From here on it is the master's own word.
	case p.verdict == unasked, p.verdict == isMaster && stale, p.verdict == isLocked && stale:
		m.becomeVerifying(fmt.Sprintf("%s is asked for its role", m.addr))
	case p.verdict == isMaster, p.verdict == isLocked:
		m.becomeServing(p)

	// Answering nothing about its role, or nothing at all for a while, is no reason
	// to leave a master that proved itself and that the Sentinels see: a slow
	// command does that. It is no reason to begin with one either.
	case p.verdict == isMute && !entering:
		m.keepServing(p)
	case p.verdict == isSilent && !entering && m.votesDown(b) < b.majority():
		m.keepServing(p)
	case m.served:
		m.becomeDoubt(p.why)
	default:
		m.becomeVerifying(p.why)
	}
	m.episode.trace(f)
}

// votesDown counts the Sentinels in sight that hold the master for down.
func (m *machine) votesDown(b bench) int {
	n := 0
	for _, r := range b.sighted {
		if r.addr == m.addr && r.down() {
			n++
		}
	}
	return n
}

// becomeUnknown says what is missing. It is the state from the start until the
// first configuration is believed, and never again.
func (m *machine) becomeUnknown(b bench) {
	switch {
	case m.conflict != "":
		m.become(Unknown, proof{}, m.conflict)
	case len(b.sighted) > 0:
		m.become(Unknown, proof{}, fmt.Sprintf("%d of %d Sentinels have answered; waiting for a majority", len(b.sighted), b.known))
	case b.known == 0 && len(m.witnesses) > 0:
		m.become(Unknown, proof{}, fmt.Sprintf("no Sentinel has a master named %q", m.name))
	default:
		m.become(Unknown, proof{}, "no Sentinel has answered yet")
	}
}

func (m *machine) becomeVerifying(reason string) {
	m.begin(reason)
	m.become(Verifying, proof{}, reason)
}

// becomeServing is reached only with a proof: the node's own word, or its refusal
// to say anything without a login, where holdfast has none.
func (m *machine) becomeServing(p proof) {
	if m.view.State == Serving && m.view.Master == m.addr {
		// While a script runs a node answers HELLO and refuses INFO: that is not
		// another process.
		p.runID = cmp.Or(p.runID, m.view.RunID)
	}
	reason := m.grounds + ", says role:master"
	if p.verdict == isLocked {
		reason = m.grounds + "; its role is not proved, because it wants a login and holdfast has none"
	}
	if m.served && p.runID != m.lastRun && p.runID != "" && m.lastRun != "" {
		reason = "restarted; " + reason
	}
	m.served, m.lastRun = true, cmp.Or(p.runID, m.lastRun)
	delete(m.left, m.addr)
	m.become(Serving, p, reason)
	m.finish()
}

// keepServing tells why one could doubt.
func (m *machine) keepServing(p proof) {
	m.reason = p.why + "; it proved itself before and is served on"
	m.say(loud, "probe", "%s", m.reason)
}

func (m *machine) becomeFenced(reason string) {
	m.begin(reason)
	m.episode.mark(&m.episode.Fenced, m.now)
	m.become(Fenced, proof{}, reason)
}

func (m *machine) becomeDoubt(reason string) {
	m.begin(reason)
	m.episode.mark(&m.episode.Doubted, m.now)
	m.become(Doubt, proof{}, reason)
}

// become makes the next View, if it would be another one. Only the becomeX call it.
func (m *machine) become(s State, p proof, reason string) {
	next := m.view
	next.State, next.Epoch, next.Master = s, m.epoch, m.addr
	next.Proven, next.RunID = p.verdict == isMaster, p.runID
	if m.reason = reason; next.sameAs(&m.view) {
		return
	}
	next.Seq++
	next.Reason, next.Since = reason, m.now
	m.view = next
	m.pressed = time.Time{} // it was evidence against the View before
	m.counts.Views++
}

// departure is a master that was left for another.
type departure struct {
	epoch   uint64 // under which the other was named
	demoted bool   // a Sentinel that knows this has since seen it as a replica
	at      time.Time

	told  bool      // to be a replica, or found to be one
	tries int       // to tell it
	tried time.Time // the last of them
}

// mostDepartures bounds what is remembered; the oldest is forgotten first.
const mostDepartures = 64

// adopt believes in a configuration. The master before is left: it gets nothing,
// whatever it says about itself, until it has been a replica and is named again.
func (m *machine) adopt(addr string, epoch uint64, grounds string) {
	m.conflict = ""
	if addr == m.addr && epoch == m.epoch {
		return
	}
	if addr != m.addr && m.addr != "" {
		m.leave(epoch)
	}
	if addr != m.addr {
		m.served = false
		m.replicas = roster{}
		m.pressed = time.Time{}
		m.switched(addr)
	}
	maps.DeleteFunc(m.fences, func(_ string, f *fence) bool {
		return f.spent || f.candidate == addr || f.epoch <= epoch
	})
	m.addr, m.epoch, m.grounds, m.adopted = addr, epoch, grounds, m.now
	maps.DeleteFunc(m.proofs, func(node string, _ proof) bool { return node != addr && !m.isCandidate(node) })
}

func (m *machine) leave(epoch uint64) {
	if len(m.left) >= mostDepartures {
		oldest := ""
		for addr, d := range m.left {
			if oldest == "" || d.at.Before(m.left[oldest].at) {
				oldest = addr
			}
		}
		delete(m.left, oldest)
	}
	m.left[m.addr] = departure{epoch: epoch, at: m.now}
}

// barred says whether a master that was left may not come back yet. For some ten
// seconds after a failover it still says role:master, and a Sentinel could even
// select it again like that. To come back it must have been seen as a replica and
// be named under a newer epoch, or a majority must name it.
func (m *machine) barred(addr string, epoch uint64) bool {
	d, ok := m.left[addr]
	if !ok || d.demoted && epoch > d.epoch {
		return false
	}
	b := m.bench()
	return b.backing(addr, epoch) < b.majority()
}

// noteDemotions looks for masters that were left among the replicas that a
// Sentinel lists. It lists them as such at once, and demotes them ten seconds
// later; the master that they say they follow is what cannot be known before.
func (m *machine) noteDemotions(r report) {
	for _, s := range r.replicas {
		d, ok := m.left[s.Address]
		if ok && !d.demoted && r.epoch >= d.epoch && s.Role == "slave" && s.Master == r.addr {
			d.demoted = true
			m.left[s.Address] = d
		}
	}
}
