package proxy

import (
	"bytes"
	"slices"
	"time"
)

// pool keeps connections that nobody uses and that are nothing but their key
// and a name: a session that has to be pinned takes one and costs no dial. One
// for each master in each loop; those of a superseded View are closed.
type pool struct {
	spares []*upstream // the one that was used last is the last
}

const (
	mostSpares = 128
	// spareTime is how long a spare is kept, in which it was not used.
	spareTime = 10 * time.Second
)

// dress is what a connection is called, by the settings that the session before
// has made on it.
type dress [settingLibVer + 1][]byte

func (v *vector) dress() (d dress) {
	if v != nil {
		copy(d[:], v.settings[:])
	}
	return d
}

// undress is the command that takes a setting back.
var undress = [settingLibVer + 1][]byte{
	command("CLIENT", "SETNAME", ""),
	command("CLIENT", "SETINFO", "lib-name", ""),
	command("CLIENT", "SETINFO", "lib-ver", ""),
}

// take finds a spare of the key that is dressed so; any: if there is none, one
// that is dressed otherwise.
func (p *pool) take(k key, d dress, any bool) (u *upstream) {
	at := -1
	for i := len(p.spares) - 1; i >= 0; i-- {
		if p.spares[i].key != k {
			continue
		}
		if p.spares[i].dress.equal(d) {
			at = i
			break
		}
		if any && at < 0 {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	u = p.spares[at]
	p.spares = slices.Delete(p.spares, at, at+1)
	return u
}

func (d dress) equal(o dress) bool {
	return slices.EqualFunc(d[:], o[:], bytes.Equal)
}

// takeSpare attaches a session, which has nothing outstanding, to a spare of the
// key, if there is one.
func (l *loop) takeSpare(s *session, k key) bool {
	if s.site.view != s.site.m.tracker.View() || !s.site.view.Serving() {
		return false
	}
	want := s.vec.dress()
	u := s.site.spares.take(k, want, true)
	if u == nil {
		return false
	}
	u.s, s.up, s.phase = s, u, phaseAttached
	for i := range want {
		if bytes.Equal(want[i], u.dress[i]) {
			continue
		}
		cmd := want[i]
		if cmd == nil {
			cmd = undress[i]
		}
		l.pushOwn(s, cmd)
	}
	return true
}

// pushOwn sends a command of ours in front of what follows; its answer is
// swallowed.
func (l *loop) pushOwn(s *session, cmd []byte) {
	if s.pend == nil {
		s.pend = l.spare.getPending()
	}
	s.pend.push(entry{kind: kindOwn}, cmd)
}

// keepSpare takes back what a session does not need any more.
func (l *loop) keepSpare(u *upstream, s *session) {
	u.s, u.key, u.dress = nil, keyOf(s), s.vec.dress()
	l.putSpare(u)
}

func (l *loop) putSpare(u *upstream) {
	p := &u.site.spares
	if len(p.spares) >= mostSpares || u.site.view != u.view || !u.view.Serving() {
		l.dropUpstream(u)
		return
	}
	u.idleSince = l.now
	p.spares = append(p.spares, u)
	l.armWithin(spareTime)
}

// spareEvent: a connection that nobody uses has nothing to say. What it says is
// that it has ended, or it is no longer trusted.
func (l *loop) spareEvent(u *upstream, ev uint32) {
	if ev&evRead != 0 {
		u.site.spares.remove(u)
		l.dropUpstream(u)
	}
}

func (p *pool) remove(u *upstream) {
	p.spares = slices.DeleteFunc(p.spares, func(o *upstream) bool { return o == u })
}

// thin closes the spares that were not used for a while, and all of them when
// their View is over.
func (l *loop) thin(site *site, all bool) {
	kept := site.spares.spares[:0]
	for _, u := range site.spares.spares {
		if all || l.now.Sub(u.idleSince) >= spareTime {
			l.dropUpstream(u)
			continue
		}
		kept = append(kept, u)
	}
	clear(site.spares.spares[len(kept):])
	if site.spares.spares = kept; len(kept) > 0 {
		l.armWithin(spareTime)
	}
}
