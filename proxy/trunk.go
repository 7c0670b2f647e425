package proxy

import (
	"slices"
	"strconv"
	"time"

	"holdfast/config"
	"holdfast/sentinel"
)

// key is what a connection must be for a command to mean the same on it. Clients
// of one key share upstreams.
type key struct {
	user, pass string
	own        bool // the login is the clients' own
	proto, db  int
}

// keyOf is the key that the session's connection has by what Redis has
// acknowledged.
func keyOf(s *session) key {
	login := s.on.login()
	k := key{user: login.Username, pass: string(login.Password), proto: 2}
	if v := s.vec; v != nil {
		if v.login {
			k.user, k.pass, k.own = v.user, v.pass, true
		}
		if v.proto == 3 {
			k.proto = 3
		}
		k.db = v.db
	}
	return k
}

// trunk is the shared upstreams of one key, in one loop. There is one, and more
// only while a stranger's command holds that one up.
type trunk struct {
	key       key
	ups       []*upstream // in the order of their preparation; the first free one is taken
	preparing bool
	locked    *sentinel.View // under which the node does not let this key in: its sessions log in first
}

// forget lets go of a trunk that is nothing.
func (site *site) forget(t *trunk) {
	if len(t.ups) == 0 && !t.preparing && t.locked != site.view {
		delete(site.trunks, t.key)
	}
}

// open tells whether a login is known to be let in, and to the database.
func (site *site) open(k key) bool {
	t := site.trunks[k]
	return t != nil && len(t.ups) > 0
}

// mostShared bounds the shared upstreams of one key in one loop.
const mostShared = 4

// trunkOf finds the trunk of a key, or makes an empty one.
func (site *site) trunkOf(k key) *trunk {
	t := site.trunks[k]
	if t == nil {
		t = &trunk{key: k}
		site.trunks[k] = t
	}
	return t
}

// pick is the shared upstream for a session with nothing outstanding; nil: it
// waits for one.
func (t *trunk) pick(now time.Time) *upstream {
	for _, u := range t.ups {
		if u.usable() && !u.share.stalled(now) {
			return u
		}
	}
	for _, u := range t.ups {
		if u.usable() && len(t.ups) >= mostShared {
			return u
		}
	}
	return nil
}

// shares tells whether the session travels with others.
func (s *session) shares() bool { return s.on.shared && s.pin == pinNone }

// join attaches a session to a shared upstream, if there is one.
func (l *loop) join(s *session) bool {
	t := s.site.trunks[keyOf(s)]
	if t == nil || s.site.view != s.site.m.tracker.View() {
		return false
	}
	u := t.pick(l.now)
	if u == nil {
		return false
	}
	s.up, s.phase = u, phaseAttached
	u.share.members++
	if !s.waitingSince.IsZero() {
		l.waited(s)
	}
	if s.pend != nil {
		s.pend.rewind()
		l.flush(s)
	}
	if s.more || len(s.in) > 0 {
		l.again(s)
	}
	return true
}

// prepareTrunk has a shared upstream prepared for a session that waits.
func (l *loop) prepareTrunk(s *session) {
	site := s.site
	t := site.trunkOf(keyOf(s))
	if t.preparing {
		return
	}
	if site.m.table.Load() != nil {
		if u := site.spares.take(t.key, dress{}, false); u != nil {
			l.shareUpstream(t, u)
			return
		}
	}
	k := t.key
	o := order{t: t, site: site, view: site.view, ctx: site.ctx, proto: k.proto, own: k.own,
		login: config.Login{Username: k.user, Password: config.Secret(k.pass)}}
	if k.db != 0 {
		o.steps = []step{{cmd: command("SELECT", strconv.Itoa(k.db)), replies: 1, what: "SELECT"}}
	}
	t.preparing = true
	// Ahead of the others: it serves more than one.
	l.want = slices.Insert(l.want, 0, o)
	l.prepareNext()
}

// shareUpstream puts a connection to the use of all sessions of its key.
func (l *loop) shareUpstream(t *trunk, u *upstream) {
	u.s, u.share = nil, &sharing{trunk: t}
	t.ups = append(t.ups, u)
	l.p.shared.Add(1)
	l.admitWaiting(u.site)
	l.look(u) // those who wanted it may have gone
}

// admitWaiting lets those who wait try again.
func (l *loop) admitWaiting(site *site) {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.site == site && s.phase == phaseWaiting {
			l.pursue(s)
		}
	}
}

// receiveTrunk takes over a shared upstream that was prepared.
func (l *loop) receiveTrunk(o order, res prepared) {
	o.t.preparing = false
	defer o.site.forget(o.t)
	switch {
	case res.err != nil:
		l.attachFailed(o, res.err)
	case o.view != o.site.view || o.view != o.site.m.tracker.View():
		closeFD(res.fd)
		l.admitWaiting(o.site)
	case res.locked:
		closeFD(res.fd)
		o.t.locked = o.view
		l.admitWaiting(o.site)
	default:
		u := &upstream{site: o.site, fd: res.fd, tls: res.tls, view: o.view, proven: res.proven}
		if l.adoptUpstream(o, u) {
			l.shareUpstream(o.t, u)
		}
	}
}

// retire takes an upstream out of its trunk; to be kept as a spare when it is
// still good, else to be closed.
func (l *loop) retire(u *upstream) {
	t := u.share.trunk
	t.ups = slices.DeleteFunc(t.ups, func(o *upstream) bool { return o == u })
	u.site.forget(t)
	l.p.shared.Add(-1)
	good := u.usable() && u.share.owners.empty() && len(u.in) == 0 && u.tail == tailHeld && !u.full && !u.more
	u.s, u.share = nil, nil
	if good {
		u.key = t.key
		l.putSpare(u)
		return
	}
	l.dropUpstream(u)
}
