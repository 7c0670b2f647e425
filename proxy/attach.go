package proxy

import (
	"context"
	"errors"
	"time"

	"holdfast/config"
	"holdfast/sentinel"
)

// maxPreparing is how many upstreams one loop prepares at a time: it paces the
// re-admission after a failover, so that a fresh master is not stampeded.
const maxPreparing = 64

const (
	firstBackoff = 10 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
)

// order is what a goroutine needs to prepare an upstream: a snapshot, because
// the session belongs to its loop.
type order struct {
	s     *session // nil: a shared upstream is wanted, of this trunk
	t     *trunk
	site  *site
	view  *sentinel.View
	ctx   context.Context // ends with the View
	login config.Login    // who the connection logs in as; empty: nobody
	own   bool            // the login is the client's own
	proto int
	bytes bool // a tunnel: connect, say nothing
	first bool // counted in site.firsts
	steps []step
	turn  uint32 // the session's when it was made; another: its state has changed since
}

// prepared is what comes back.
type prepared struct {
	fd     int
	tls    *secure // nil: in the clear
	proven bool
	locked bool   // the node wants a login that the clients of a shared upstream have not made
	rest   []byte // came after the replay: messages for the client
	err    error
}

// listenersFirst bounds how long clients wait under a new View for those that
// listen: a message that is published before its subscriber is back would be
// lost.
const listenersFirst = 250 * time.Millisecond

// pursue asks for an upstream to be prepared, if the View serves and its gate
// is open.
func (l *loop) pursue(s *session) {
	site := s.site
	if s.phase != phaseWaiting || !l.mayAttach(s) || s.shares() && (l.join(s) || !l.pinLocked(s)) {
		return
	}
	if s.on.shared && s.pend == nil && l.takeSpare(s, keyOf(s)) {
		if !s.waitingSince.IsZero() {
			l.waited(s)
		}
		l.again(s)
		return
	}
	if l.now.Before(site.gate) {
		return
	}
	o := order{s: s, site: site, view: site.view, ctx: site.ctx, bytes: s.on.tunnel}
	if !s.on.tunnel {
		o.login = s.on.login()
		if s.vec != nil {
			o.proto = s.vec.proto
			if s.vec.login {
				o.login, o.own = config.Login{Username: s.vec.user, Password: config.Secret(s.vec.pass)}, true
			}
		}
		o.steps = s.vec.replay()
	}
	if o.first = s.vec.listens(); o.first {
		site.firsts++
	}
	s.turn++
	o.turn = s.turn
	s.phase = phasePreparing
	l.want = append(l.want, o)
	l.prepareNext()
}

// mayAttach tells whether a client may be attached now: the View serves, its own
// pause is over, and those that listen have gone before it.
func (l *loop) mayAttach(s *session) bool {
	site := s.site
	if !site.view.Serving() || site.view != site.m.tracker.View() || l.now.Before(s.notBefore) {
		return false
	}
	return site.firsts == 0 || !l.now.Before(site.others) || s.vec.listens()
}

// pinLocked tells whether a session that would share must have an upstream of
// its own, because it has to log in first. Else a shared one is prepared.
func (l *loop) pinLocked(s *session) bool {
	if t := s.site.trunks[keyOf(s)]; t != nil && t.locked == s.site.view {
		s.pin = pinLogin
		s.site.count.pins[pinLogin].Add(1)
		return true
	}
	if !l.now.Before(s.site.gate) {
		l.prepareTrunk(s)
	}
	return false
}

func (l *loop) prepareNext() {
	for l.preparing < maxPreparing && len(l.want) > 0 {
		o := l.want[0]
		l.want[0] = order{}
		l.want = l.want[1:]
		if o.t != nil {
			if o.view == o.site.view {
				l.preparing++
				go l.prepare(o)
			} else {
				o.t.preparing = false
				l.admitWaiting(o.site)
			}
			continue
		}
		if o.s.phase != phasePreparing || o.turn != o.s.turn {
			l.prepared(o)
			continue
		}
		if o.view != o.site.view {
			o.s.phase = phaseWaiting
			l.pursue(o.s)
			continue
		}
		l.preparing++
		go l.prepare(o)
	}
}

// prepare makes one upstream ready, on a goroutine of its own that ends within
// the bounds of the dial and the handshake and hands over what it made.
func (l *loop) prepare(o order) {
	res := prepared{fd: -1}
	res.err = l.p.place(&o, &res)
	if !l.post(func(l *loop) { l.receive(o, res) }) && res.fd >= 0 {
		closeFD(res.fd)
	}
}

// receive takes over what prepare made, if it is still wanted.
func (l *loop) receive(o order, res prepared) {
	l.preparing--
	s := o.s
	defer l.prepareNext()
	if o.t != nil {
		l.receiveTrunk(o, res)
		return
	}
	defer l.prepared(o)
	if s.phase != phasePreparing || o.turn != s.turn {
		if res.fd >= 0 {
			closeFD(res.fd)
		}
		return
	}
	s.phase = phaseWaiting
	switch {
	case res.err != nil:
		l.attachFailed(o, res.err)
	case o.view != o.site.m.tracker.View():
		closeFD(res.fd)
		l.pursue(s)
	default:
		l.attach(o, res)
	}
}

// prepared notes that an order is done with; the last client that listens lets
// the others follow.
func (l *loop) prepared(o order) {
	if !o.first || o.view != o.site.view {
		return
	}
	if o.site.firsts--; o.site.firsts > 0 {
		return
	}
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.site == o.site && s.phase == phaseWaiting {
			l.pursue(s)
		}
	}
}

func (l *loop) attach(o order, res prepared) {
	s := o.s
	u := &upstream{s: s, site: o.site, fd: res.fd, tls: res.tls, view: o.view, proven: res.proven}
	if !l.adoptUpstream(o, u) {
		return
	}
	s.up, s.phase = u, phaseAttached
	if s.pend != nil {
		s.pend.rewind()
	}
	if !s.waitingSince.IsZero() {
		l.waited(s)
	}
	if s.vec != nil && s.vec.settings[settingTracking] != nil && s.vec.resp3() {
		// The new server knows none of the keys that this client has cached;
		// a null invalidation tells it to drop them all.
		if !l.send(s, []byte(">2\r\n$10\r\ninvalidate\r\n_\r\n")) {
			return
		}
	}
	if len(res.rest) > 0 {
		l.replies(u, append(l.buf[:0], res.rest...), 0)
	}
	if s.up == u {
		l.flush(s)
	}
	if s.up == u && len(s.in) == 0 && !s.more {
		l.part(s) // what it was for has waited too long
	}
	if s.up == u {
		u.more = true
		l.again(s)
	}
}

// adoptUpstream takes a prepared connection over; false: it could not.
func (l *loop) adoptUpstream(o order, u *upstream) bool {
	if _, err := l.adopt(u.fd, nil, u); err != nil {
		l.drop(u.fd)
		l.attachFailed(o, err)
		return false
	}
	if u.tls != nil {
		l.useTLS()
	}
	o.site.gate, o.site.backoff, o.site.trouble = time.Time{}, 0, ""
	o.site.m.atEase(l.log, o.view.Master)
	o.site.count.add(statUpstreams, 1)
	l.p.upstreams.Add(1)
	return true
}

// attachFailed puts the session back to wait, or ends it when the reason is its
// own. The gate keeps everybody from trying at once.
func (l *loop) attachFailed(o order, err error) {
	o.site.count.add(statAttachFailed, 1)
	var own *replayError
	if errors.As(err, &own) {
		l.log.Warn().Str("master", o.site.m.name).Str("node", o.view.Master).Str("why", err.Error()).
			Msg("a client's connection cannot be carried over; it is ended")
		l.closeOrdered(o)
		return
	}
	switch {
	case o.view == o.site.view && o.ctx.Err() == nil:
	case o.s != nil:
		l.pursue(o.s)
		return
	default:
		l.admitWaiting(o.site)
		return
	}
	if o.t != nil && len(o.t.ups) > 0 {
		return // one more than needs be, to a node that is busy
	}
	why := sentinel.Bare(err).Error()
	o.site.m.tracker.Doubt(o.view, why)
	o.site.trouble = why
	o.site.m.troubled(l.log, o.view, why)
	o.site.backoff = min(max(2*o.site.backoff, firstBackoff), lastBackoff)
	o.site.gate = l.now.Add(o.site.backoff)
	l.arm()
}

// closeOrdered ends those for whom an upstream was prepared in vain.
func (l *loop) closeOrdered(o order) {
	if o.s != nil {
		l.close(o.s, cutLogin)
		return
	}
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.site == o.site && s.phase == phaseWaiting && s.shares() && keyOf(s) == o.t.key {
			l.close(s, cutLogin)
		}
	}
}
