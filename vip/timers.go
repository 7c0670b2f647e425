package vip

import "time"

// settle is for how long the Redis master has to be, or not to be, on this node
// before prefer_local_master follows: a failover that is followed by another then
// moves the addresses once.
const settle = 10 * time.Second

// mend is how long a router stays out of the election after the system refused
// something that it needs.
const mend = 5 * time.Second

// Announcements follow an advert, for it is what makes an owner of lower priority
// yield, perhaps without a word, and its clients must be told at that moment: with
// an advert, they are repeated when the last is as old as remind. What calls for
// one at once is answered when the last is as old as answer.
const (
	remind = 500 * time.Millisecond
	answer = 100 * time.Millisecond
)

// tolerance is how late a backup's tick may be at least, however short the
// interval: a busy machine is no frozen one.
const tolerance = 100 * time.Millisecond

// resigning is the priority of an owner's last advert.
const resigning = 0

// own is the interval of this node's adverts.
func (m *machine) own() time.Duration { return time.Duration(m.vip.AdvertInterval) }

// priority is the one in effect.
func (m *machine) priority() int {
	if m.local {
		return m.vip.Priority + m.vip.PreferLocalMaster
	}
	return m.vip.Priority
}

// skew lets the highest priority be the first to take over: a part of a second in
// version 2 (RFC 3768 6.1), of the owner's interval in version 3 (RFC 9568 6.1).
func (m *machine) skew() time.Duration {
	unit := m.interval
	if m.vip.Version == 2 {
		unit = time.Second
	}
	return time.Duration(256-m.priority()) * unit / 256
}

// masterDown is for how long an owner may be silent (the same sections).
func (m *machine) masterDown() time.Duration { return 3*m.interval + m.skew() }

// downAt is when a backup takes over. A change of priority moves it at once, as
// with keepalived.
func (m *machine) downAt() time.Time {
	if m.resigned {
		return m.heard.Add(m.skew())
	}
	return m.heard.Add(m.masterDown())
}

// next is when tick is due; zero: not before another input.
func (m *machine) next() (due time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if m.stopped {
		return due
	}
	sooner(m.localAt)
	sooner(m.mended)
	switch m.state {
	case Backup:
		sooner(m.downAt())
	case Master:
		sooner(m.advertAt)
		sooner(m.announceAt)
	}
	return due
}

// at is the time of an input. A backup that comes to itself long after it should
// have taken over has stood still, and has not heard who owns the addresses now:
// it waits once more.
func (m *machine) at(now time.Time) {
	m.now = now
	if m.state == Backup && now.Sub(m.downAt()) > max(m.interval, tolerance) {
		m.wait(m.interval)
	}
}

// wait makes a backup patient from now on.
func (m *machine) wait(interval time.Duration) {
	m.heard, m.resigned, m.interval = m.now, false, interval
}

// expire does what is due.
func (m *machine) expire() {
	due := func(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }
	if due(m.localAt) {
		m.local, m.localAt = !m.local, time.Time{}
	}
	if due(m.mended) {
		m.broken, m.mended = "", time.Time{}
	}
	m.stand()
	switch m.state {
	case Backup:
		if due(m.downAt()) {
			m.becomeMaster(m.opening())
		}
	case Master:
		if due(m.advertAt) {
			m.advertise()
		}
		if due(m.announceAt) {
			m.announce()
		}
	}
}

// advertise tells the others that this node owns. The addresses' lease begins anew
// with it, not sooner and not later.
func (m *machine) advertise() {
	m.do(refresh)
	m.say(m.priority())
	m.advertised, m.advertAt = m.now, m.now.Add(m.own())
	if !m.now.Before(m.announced.Add(remind)) {
		m.announce()
	}
}

// assert is what an owner answers to another router that takes itself for one:
// its advert at once (RFC 9568 6.4.3), and an announcement, because the other one
// may just have made its own. However often it is called for, it goes out ten
// times in an interval at most.
func (m *machine) assert() {
	if at := m.advertised.Add(m.own() / 10); !m.now.Before(at) {
		m.advertise()
	} else {
		m.advertAt = at
	}
	if at := m.announced.Add(answer); !m.now.Before(at) {
		m.announce()
	} else if !m.announced.Equal(m.now) {
		m.announceAt = at
	}
}

func (m *machine) announce() {
	m.do(announce)
	m.announced, m.announceAt = m.now, time.Time{}
}
