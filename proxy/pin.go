package proxy

import (
	"bytes"
	"encoding/binary"

	"holdfast/resp"
)

// A session of a shared listener travels on its loop's shared upstream as long
// as its connection is nothing but a user, a database and a protocol. What Redis
// remembers of a connection, and what would hold up strangers, has an upstream
// of its own: the session is pinned, and goes back as soon as everything is
// answered and its connection is plain again. Each pin is counted by its reason:
// a multiplexer that silently stops multiplexing is the known trap of its kind.

// pin is why a session has an upstream of its own.
type pin uint8

const (
	pinNone      pin = iota
	pinMode          // its listener shares nothing
	pinLogin         // AUTH, HELLO, SELECT, RESET: what the connection is changes with the reply
	pinMulti         // a transaction
	pinWatch         // WATCH
	pinBlocking      // a command that may wait, WAIT included
	pinSubscribe     // it listens
	pinClient        // CLIENT and MONITOR: the connection itself is what is asked for or changed
	pinAdmin         // an administrator's command
	pinBusy          // must get through while a script runs
	pinModule        // a module's command: nobody knows what it does to its connection
	pinUnknown       // a command that the server's COMMAND does not name
	pinInline        // a command in plain words
	pinLarge         // a command or replies too large to have strangers wait for
	pinRetry         // the shared upstream was lost while it waited for an answer
	pinRefused       // a command of its was refused as by a replica; a script can do that
	pinCount
)

// String is the reason's label in metrics.
func (p pin) String() string {
	return [...]string{"none", "mode", "login", "transaction", "watch", "blocking", "subscribe", "client", "admin",
		"allow_busy", "module", "unknown_command", "inline", "large", "retry", "refused"}[p]
}

// runApart is how many commands travel on an upstream of their own after one that
// has shown to be none for a shared one.
const runApart = 64

// keepApart has the session's next commands travel apart.
func (s *session) keepApart(why pin) { s.run, s.runWhy = runApart, why }

// apart tells why a command may not travel with those of others, and whether
// its session stays apart for good: until RESET, or for its life where Redis does
// not say that RESET clears it.
func (l *loop) apart(s *session, k kind, frame []byte) (why pin, forGood bool) {
	why, forGood = l.apartByKind(s, k, frame)
	if s.run > 0 {
		s.run--
		if why == pinNone {
			why = s.runWhy
		}
	}
	if why == pinNone && s.req.Inline() {
		why = pinInline
	}
	return why, forGood
}

func (l *loop) apartByKind(s *session, k kind, frame []byte) (why pin, forGood bool) {
	switch k {
	case kindPlain:
		return l.routeOf(s, frame)
	case kindScript:
		s.wrote = true
		return routeOfScript(frame)
	case kindAuth, kindHello, kindSelect, kindReset:
		return pinLogin, false
	case kindMulti, kindExec, kindDiscard:
		return pinMulti, false
	case kindWatch, kindUnwatch:
		return pinWatch, false
	case kindWait:
		return pinBlocking, false
	case kindSubscribe, kindUnsubscribe:
		return pinSubscribe, false
	case kindClient:
		return pinClient, !names(frame)
	}
	return pinClient, true
}

// names tells whether a CLIENT command is one that every client library sends
// when it connects. (A server before 7.2 refuses SETINFO.)
func names(frame []byte) bool {
	var few [4][]byte
	args := resp.Args(few[:0], frame)
	return len(args) > 1 && (is(args[1], "setname") || is(args[1], "getname") || is(args[1], "setinfo"))
}

// routeOfScript: EVAL and SCRIPT LOAD concern the whole server, SCRIPT KILL must
// not stand behind the script that it is to end.
func routeOfScript(frame []byte) (why pin, forGood bool) {
	if len(resp.Name(frame)) == len("eval") {
		return pinNone, false
	}
	var few [4][]byte
	if args := resp.Args(few[:0], frame); len(args) > 1 {
		switch {
		case is(args[1], "kill"):
			return pinBusy, false
		case is(args[1], "debug"):
			return pinAdmin, true
		}
	}
	return pinNone, false
}

// routeOf asks the server's COMMAND table, through a small cache by the name as
// it was written.
func (l *loop) routeOf(s *session, frame []byte) (why pin, forGood bool) {
	t := s.site.m.table.Load()
	if t == nil {
		// The first shared upstream brings the table; if the server does not
		// tell, nothing is known of any command.
		if s.up == nil || s.up.share == nil {
			return pinNone, false
		}
		return pinUnknown, false
	}
	r := s.site.routes.find(t, resp.Name(frame))
	if s.wrote = s.wrote || r.write; r.look {
		return t.look(frame)
	}
	return r.why, r.forGood
}

// routes remembers what the table said of the names that were asked for last.
type routes struct {
	table *table
	slots [64]route
}

type route struct {
	a, b    uint64 // the name, with its size
	size    int
	why     pin
	forGood bool
	look    bool // the name alone does not tell
	write   bool
	swift   bool // plain, and travels with others
}

func (rs *routes) find(t *table, name []byte) *route {
	a, b := packed(name)
	if rs.table != t {
		*rs = routes{table: t}
	}
	r := &rs.slots[(a^b*31^uint64(len(name)))*0x9E3779B97F4A7C15>>58]
	if r.a != a || r.b != b || r.size != len(name) || len(name) > 16 {
		*r = t.route(name)
		r.a, r.b, r.size = a, b, len(name)
	}
	return r
}

// packed is a name of at most 16 bytes as two numbers; with its size, they are
// no other's.
func packed(name []byte) (a, b uint64) {
	switch n := len(name); {
	case n >= 8:
		return binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(name)), uint64(binary.LittleEndian.Uint32(name[n-4:]))
	case n > 0:
		return uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16, 0
	}
	return 0, 0
}

// route is what a command's name tells.
func (t *table) route(name []byte) (r route) {
	is, known := t.flags[lower(name)]
	switch {
	case !known:
		return route{why: pinUnknown, forGood: true}
	case is&traitContainer != 0:
		return route{look: true, write: true}
	case is&traitBlocking != 0 && (bytes.EqualFold(name, []byte("xread")) || bytes.EqualFold(name, []byte("xreadgroup"))):
		return route{look: true, write: is&traitWrite != 0}
	}
	r.write = is&traitWrite != 0
	r.why, r.forGood = is.apart(lower(name))
	r.swift = r.why == pinNone && classify(name) == kindPlain
	return r
}

// look decides where the arguments matter.
func (t *table) look(frame []byte) (why pin, forGood bool) {
	var few [16][]byte
	args := resp.Args(few[:0], frame)
	name := lower(args[0])
	is := t.flags[name]
	if is&traitContainer == 0 {
		if name == "xreadgroup" && len(args) > 4 {
			args = args[3:] // a group or a consumer may be called anything
		}
		for _, a := range args[1:] {
			switch {
			case bytes.EqualFold(a, []byte("block")):
				return pinBlocking, false
			case bytes.EqualFold(a, []byte("streams")):
				return pinNone, false
			}
		}
		return pinNone, false
	}
	if name == "function" {
		// KILL and STATS are for the time when a function runs; the others are rare.
		return pinBusy, false
	}
	if len(args) > 1 {
		if sub, known := t.flags[name+"|"+lower(args[1])]; known {
			is = sub
		}
	}
	return is.apart(name)
}

// apart is what the flags of a command say.
func (is trait) apart(name string) (why pin, forGood bool) {
	switch {
	case is&traitModule != 0:
		return pinModule, false
	case is&traitBlocking != 0:
		return pinBlocking, false
	case is&traitBusy != 0:
		return pinBusy, false
	case is&traitAdmin != 0:
		return pinAdmin, name == "debug"
	case is&traitConnection != 0:
		// A server newer than this program may keep more of a connection.
		if name == "ping" || name == "echo" || name == "command" {
			return pinNone, false
		}
		return pinUnknown, true
	}
	return pinNone, false
}

// takesPlace sees to it that the session has the upstream that this command
// needs. False: it has to wait for it.
func (l *loop) takesPlace(s *session, k kind, frame []byte) bool {
	if s.on.shared {
		why, forGood := l.apart(s, k, frame)
		if forGood && !s.forGood {
			if s.forGood = true; s.pin != pinNone && s.pin != why {
				s.pin = why // and no longer for what it was pinned for
				s.site.count.pins[why].Add(1)
			}
		}
		if why != pinNone && s.pin == pinNone && !l.pinTo(s, why, s.helloTo(k, frame)) {
			return false
		}
		if s.pend == nil && s.up != nil && s.up.share != nil && s.up.strained(l.now) {
			l.detach(s)
		}
	}
	if s.phase == phaseIdle {
		l.need(s)
	}
	return s.phase == phaseAttached && s.up.usable()
}

// helloTo is the protocol that a HELLO of a client without a password of ours asks
// for; 0: it is none, or it may be refused here.
func (s *session) helloTo(k kind, frame []byte) int {
	if k != kindHello || s.on.cfg.Password != "" {
		return 0
	}
	var few [8][]byte
	if args := resp.Args(few[:0], frame); len(args) > 1 && len(args[1]) == 1 && (args[1][0] == '2' || args[1][0] == '3') {
		return int(args[1][0] - '0')
	}
	return 0
}

// pinTo moves a session with nothing outstanding to an upstream of its own;
// false: it has to wait, for its answers or for the upstream. A HELLO to the given
// protocol means the same on a spare that speaks that already, as those do which
// the clients before have left: so that a client library's first word costs no dial.
func (l *loop) pinTo(s *session, why pin, proto int) bool {
	if s.pend != nil {
		s.stalled = true
		return false
	}
	l.detach(s)
	s.pin = why
	s.site.count.pins[why].Add(1)
	k := keyOf(s)
	if to := (key{k.user, k.pass, k.own, proto, k.db}); proto != 0 && to != k && l.takeSpare(s, to) {
		s.up.awry = true
		return true
	}
	if l.takeSpare(s, k) {
		return true
	}
	l.need(s)
	return false
}

// part gives a session's own upstream back once nothing is left of why it had
// one.
func (l *loop) part(s *session) {
	u := s.up
	if u == nil || u.share != nil || s.pin == pinNone || s.pin == pinMode || s.forGood || s.pend != nil || !s.plain() ||
		len(s.in) > s.scanned || !u.usable() || len(u.in) > 0 || u.tail != tailHeld || u.more || u.full {
		return
	}
	s.up, s.phase, s.pin = nil, phaseIdle, pinNone
	if u.soiled {
		l.dropUpstream(u)
	} else {
		l.keepSpare(u, s)
	}
	if s.more || len(s.in) > 0 {
		l.again(s)
	}
}

// unpin lets a session with nothing outstanding and no upstream travel with others
// again, if nothing is left of why it was to have one of its own.
func (s *session) unpin() {
	if s.on.shared && !s.forGood && s.plain() {
		s.pin = pinNone
	}
}

// plain tells whether the connection is nothing but a user, a database, a
// protocol and a name.
func (s *session) plain() bool {
	if s.unsure || s.mute || s.skip || s.prove || s.solo {
		return false
	}
	v := s.vec
	return v == nil || v.multi == nil && !v.watching && !v.broken && !v.readonly && !v.monitor && !v.subscribed() &&
		v.settings[settingCapa] == nil && v.settings[settingNoEvict] == nil && v.settings[settingNoTouch] == nil &&
		v.settings[settingTracking] == nil
}
