// Package vip owns an address on behalf of several nodes, one at a time: VRRP, on
// the wire compatible with keepalived, on Linux.
//
// What always holds: the addresses are on the interface only while the router is
// Master and their lease is fresh; an owner's advert follows a refresh of the lease,
// and nothing else refreshes it; whenever the addresses come they are announced,
// and before they go their clients are ended; a node that is not fit owns nothing,
// whatever the priorities. VRRP has no majority, so without fitness both sides of a
// partition own.
//
// A lease bounds for how long a dead or frozen owner keeps the addresses, which is
// its lifetime and up to a second. It does not exclude that two own for a moment.
package vip

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast/config"
)

// State is what a router is.
type State string

// The states of RFC 9568 6.4, and Fault, which is keepalived's: something stands
// in the way, so the router neither owns nor takes part in the election.
const (
	Initialize State = "initialize" // not known yet whether this node is fit; or shut down
	Backup     State = "backup"
	Master     State = "master"
	Fault      State = "fault"
)

// Fitness is whether this node could serve those who come to the addresses.
type Fitness struct {
	Fit         bool
	Why         string // why not
	LocalMaster bool   // the Redis master runs on this node
}

// machine decides whether this node owns the addresses of one instance. Adverts,
// fitness, the link, the addresses and the time go in; actions come out. It has no
// socket, clock or goroutine, and the same input gives the same output. It is used
// by one goroutine.
//
// It follows RFC 9568 6.4 (and RFC 3768 6.4 in version 2) with keepalived's
// preempt delay. It goes beyond them where clients would otherwise be left behind:
// whoever yields says so by a last advert, and an owner announces with its adverts.
type machine struct {
	vip    config.VIP
	source netip.Addr // decides between equal priorities
	now    time.Time  // of the input at hand

	state   State
	since   time.Time
	why     string // it is in this state
	stopped bool

	// What stands in the way.
	fitness   Fitness
	told      bool      // of the fitness
	linkFault string    // "": none
	broken    string    // what the system refused; "": nothing
	mended    time.Time // when that is forgotten

	local   bool      // prefer_local_master counts
	localAt time.Time // when that changes; zero: it does not

	// Backup.
	heard     time.Time     // since when the owner is silent
	resigned  bool          // it said that it goes
	interval  time.Duration // of its adverts (RFC 9568 6.1: Active_Adver_Interval)
	preemptAt time.Time     // preempt_delay: owners of lower priority are let be until then; zero: none was heard

	// Master.
	advertised, advertAt  time.Time // the last one, the next one
	announced, announceAt time.Time // the last one; one that was put off, zero: none
	rival                 peer      // another owner, while it is heard
	rivalSince            time.Time

	peer    peer // the last other router that was heard
	entered map[State]int
	alarms  map[string]int // by name
	actions []action       // of the input at hand
}

// peer is another router of the instance.
type peer struct {
	addr     netip.Addr // not valid: none
	priority int
	heard    time.Time
}

// newMachine is in Initialize until it is told the node's fitness. The link is
// taken for up until it is told otherwise.
func newMachine(v config.VIP, source netip.Addr, now time.Time) *machine {
	return &machine{
		vip: v, source: source, now: now,
		state: Initialize, since: now, why: "not known yet whether this node is fit",
		interval: time.Duration(v.AdvertInterval),
		entered:  make(map[State]int),
		alarms:   map[string]int{twoOwners: 0, duplicate255: 0, strayAddress: 0},
	}
}

// tick lets time pass. It is due at next, or at any other time.
func (m *machine) tick(now time.Time) []action {
	m.at(now)
	return m.settle()
}

// settle ends an input: what is due is done, and all that is wanted given out.
func (m *machine) settle() []action {
	if !m.stopped {
		m.expire()
	}
	actions := m.actions
	m.actions = nil
	return actions
}

// hear takes an accepted advert.
func (m *machine) hear(now time.Time, from netip.Addr, a advert) []action {
	m.at(now)
	m.peer = peer{from, a.priority, now}
	if a.priority == ownsAlways && m.vip.Priority == ownsAlways {
		m.raise(duplicate255, fmt.Sprintf("%v has priority 255 too; only one router of an instance may", from))
	}
	switch m.state {
	case Backup:
		m.follow(a)
	case Master:
		m.contend(from, a)
	}
	return m.settle()
}

// ownsAlways is the priority of a router that does not wait for anybody.
const ownsAlways = 255

// follow is a backup that hears an owner (RFC 9568 6.4.2).
func (m *machine) follow(a advert) {
	if a.priority == resigning {
		m.heard, m.resigned = m.now, true
		return
	}
	lower := a.priority < m.priority()
	switch {
	case !lower:
		m.preemptAt = time.Time{}
	case m.preemptAt.IsZero():
		m.preemptAt = m.now.Add(time.Duration(m.vip.PreemptDelay))
	}
	if !lower || !m.vip.Preempt || m.now.Before(m.preemptAt) {
		m.wait(a.interval)
	}
}

// contend is an owner that hears another (RFC 9568 6.4.3).
func (m *machine) contend(from netip.Addr, a advert) {
	switch {
	case a.priority == resigning:
		m.assert()
	case a.priority > m.priority():
		m.yield(a, fmt.Sprintf("yields to %v, which has priority %d", from, a.priority))
	case a.priority == m.priority() && from.Compare(m.source) > 0:
		m.yield(a, fmt.Sprintf("yields to %v, which has the same priority %d and the greater address", from, a.priority))
	default:
		m.watch(from, a)
		m.assert()
	}
}

// yield leaves the addresses to another owner. The last advert comes when they are
// gone: it makes the other one announce them, keepalived too, which would not
// otherwise, and clients that took this node for the owner would be left with it.
func (m *machine) yield(a advert, why string) {
	m.do(leave)
	m.do(drop)
	m.say(m.priority())
	m.becomeBackup(a.interval, why)
}

// watch raises the alarm when an owner that should yield goes on for longer than
// one of its intervals; until then it may not have heard us yet.
func (m *machine) watch(from netip.Addr, a advert) {
	if patience := 3 * max(a.interval, m.own()); m.rival.addr != from || m.now.Sub(m.rival.heard) > patience {
		m.rivalSince = m.now
	}
	m.rival = m.peer
	if m.now.Sub(m.rivalSince) >= max(a.interval, m.own()) {
		m.raise(twoOwners, fmt.Sprintf("%v, which has priority %d, goes on owning the addresses beside this node: it does not hear it, or rejects what it hears", from, a.priority))
	}
}

// fit takes whether this node could serve.
func (m *machine) fit(now time.Time, f Fitness) []action {
	m.at(now)
	m.fitness, m.told = f, true
	switch {
	case m.state == Initialize || m.state == Fault: // there is nothing to flap
		m.local, m.localAt = f.LocalMaster, time.Time{}
	case m.local == f.LocalMaster:
		m.localAt = time.Time{}
	case m.localAt.IsZero():
		m.localAt = now.Add(settle)
	}
	return m.settle()
}

// link takes the state of the interface: why it cannot be used, or "" when it is
// up. Told again that it is up, an owner announces: it may have been down between.
func (m *machine) link(now time.Time, fault string) []action {
	m.at(now)
	m.linkFault = fault
	if fault == "" && m.state == Master {
		m.announce()
	}
	return m.settle()
}

// appeared takes that an address is on the interface that was not there before,
// and not by a take. It is announced, or it has no business there.
func (m *machine) appeared(now time.Time, addr netip.Addr) []action {
	m.at(now)
	if m.state == Master {
		m.announce()
	} else {
		m.raise(strayAddress, fmt.Sprintf("%v was put on %s by somebody else, while this node is %s; it is removed", addr, m.vip.Interface, m.state))
		m.do(drop)
	}
	return m.settle()
}

// doubled takes that somebody else put an address on the interface with a prefix
// that ours never have. It has no lease: a node that dies would keep it.
func (m *machine) doubled(now time.Time, addr netip.Addr) []action {
	m.at(now)
	m.raise(strayAddress, fmt.Sprintf("%v was put on %s by somebody else, in a prefix; it is removed", addr, m.vip.Interface))
	m.do(clean)
	return m.settle()
}

// lost takes that an address is gone from the interface, and not by a drop.
func (m *machine) lost(now time.Time, addr netip.Addr) []action {
	m.at(now)
	if m.state == Master {
		m.release()
		m.becomeBackup(m.own(), fmt.Sprintf("%v is gone from %s, and not by this node", addr, m.vip.Interface))
	}
	return m.settle()
}

// slept takes that this process stood still for longer than the lease lasts.
// Another may own the addresses by now.
func (m *machine) slept(now time.Time, gap time.Duration) []action {
	m.at(now)
	switch m.state {
	case Master:
		m.release()
		m.becomeBackup(m.own(), fmt.Sprintf("stood still for %v, longer than the lease lasts", gap.Round(time.Millisecond)))
	case Backup:
		m.wait(m.interval)
	}
	return m.settle()
}

// failed takes that an action could not be carried out. Who cannot own or cannot
// say so leaves it to others, and tries again later.
func (m *machine) failed(now time.Time, err error) []action {
	m.at(now)
	if m.state == Master {
		m.broken, m.mended = err.Error(), now.Add(mend)
	}
	return m.settle()
}

// shutdown ends it: an owner releases. Nothing comes out afterwards.
func (m *machine) shutdown(now time.Time) []action {
	m.at(now)
	if !m.stopped {
		if m.state == Master {
			m.release()
		}
		m.stopped = true
		m.become(Initialize, "shut down")
	}
	return m.settle()
}

// release gives the addresses to whoever is the next.
func (m *machine) release() {
	m.do(leave)
	m.say(resigning)
	m.do(drop)
}

// obstacle is what stands in the way of any part in the election; "": nothing.
func (m *machine) obstacle() string {
	switch {
	case m.linkFault != "":
		return m.linkFault
	case m.broken != "":
		return m.broken
	case !m.fitness.Fit:
		return m.fitness.Why
	}
	return ""
}

// stand enters or leaves Fault as obstacles come and go, and Initialize once it is
// known whether there are any.
func (m *machine) stand() {
	if !m.told {
		return
	}
	switch why := m.obstacle(); {
	case why != "" && m.state == Fault:
		m.why = why
	case why != "":
		m.becomeFault(why)
	case m.state == Initialize || m.state == Fault:
		m.start()
	}
}

// start takes part in the election (RFC 9568 6.4.1).
func (m *machine) start() {
	if m.vip.Priority == ownsAlways {
		m.becomeMaster("owns whenever it can, having priority 255")
		return
	}
	m.becomeBackup(m.own(), "fit, and listens whether another owns the addresses")
}

func (m *machine) becomeBackup(interval time.Duration, why string) {
	m.preemptAt = time.Time{}
	m.wait(interval)
	m.become(Backup, why)
}

func (m *machine) becomeMaster(why string) {
	m.do(take)
	m.say(m.priority())
	m.advertised, m.advertAt = m.now, m.now.Add(m.own())
	m.announce()
	m.become(Master, why)
}

// becomeFault releases at once: who cannot serve must not wait for a better one.
func (m *machine) becomeFault(why string) {
	if m.state == Master {
		m.release()
	}
	m.become(Fault, why)
}

func (m *machine) become(s State, why string) {
	m.state, m.since, m.why = s, m.now, why
	m.entered[s]++
	m.actions = append(m.actions, action{kind: enter, state: s, why: why})
}

// opening is why a backup takes over.
func (m *machine) opening() string {
	silent := m.now.Sub(m.heard).Round(time.Millisecond)
	switch {
	case !m.peer.addr.IsValid():
		return fmt.Sprintf("no other was heard for %v", silent)
	case m.resigned:
		return fmt.Sprintf("%v resigned", m.peer.addr)
	case m.peer.heard.After(m.heard):
		return fmt.Sprintf("has priority %d, and %v, which owned the addresses, has %d", m.priority(), m.peer.addr, m.peer.priority)
	}
	return fmt.Sprintf("%v, which owned the addresses, was not heard for %v", m.peer.addr, silent)
}
