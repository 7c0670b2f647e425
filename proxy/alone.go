package proxy

import (
	"bytes"
	"fmt"
	"strconv"

	"holdfast/resp"
)

// What a shared session is told by holdfast itself, with Redis' own checks and
// texts: every client library gives its connection a name when it connects, and
// to pin each of them for that would pin everybody. The names are applied when
// the session has an upstream of its own.

// admitAlone answers a command that needs no upstream. done: it has, or ok is
// false and the session has to wait.
func (l *loop) admitAlone(s *session, k kind, frame []byte) (done, ok bool) {
	switch {
	case k == kindReplica:
		return true, l.admitSpecial(s, k, frame)
	case k == kindAuth && s.on.cfg.Password != "":
		if s.pend != nil {
			s.stalled = true
			return true, false
		}
		return true, l.admitLogin(s, k, frame)
	case s.pin != pinNone:
		return false, false
	case k == kindSelect:
		return l.admitSelect(s, frame)
	case k == kindClient:
		return l.admitClient(s, frame)
	}
	return false, false
}

// admitSelect: a database with a shared upstream is known to exist, and to be
// open to this login.
func (l *loop) admitSelect(s *session, frame []byte) (done, ok bool) {
	var few [4][]byte
	args := resp.Args(few[:0], frame)
	if len(args) != 2 {
		return false, false
	}
	k := keyOf(s)
	var err error
	if k.db, err = strconv.Atoi(string(args[1])); err != nil || strconv.Itoa(k.db) != string(args[1]) {
		return false, false // Redis says what is wrong with it
	}
	if !s.site.open(k) {
		return false, false
	}
	if s.pend != nil {
		s.stalled = true
		return true, false
	}
	l.detach(s)
	l.state(s).db = k.db
	return true, l.tell(s, "+OK\r\n")
}

func (l *loop) admitClient(s *session, frame []byte) (done, ok bool) {
	var few [6][]byte
	args := resp.Args(few[:0], frame)
	if len(args) < 2 {
		return false, false
	}
	setName := len(args) == 3 && is(args[1], "setname")
	getName := len(args) == 2 && is(args[1], "getname")
	setInfo := len(args) == 4 && is(args[1], "setinfo")
	if !setName && !getName && !setInfo {
		return false, false
	}
	if s.pend != nil {
		s.stalled = true
		return true, false
	}
	if k := keyOf(s); !s.site.open(k) {
		// Redis may want a login first. The first shared upstream will tell.
		if t := s.site.trunks[k]; t != nil && t.locked == s.site.view {
			return false, false
		}
		if l.need(s); s.phase != phaseAttached {
			return true, false
		}
	}
	if setInfo {
		return l.admitSetInfo(s, args, frame)
	}
	if getName {
		return true, l.tell(s, s.name())
	}
	if !printable(args[2]) {
		return true, l.tell(s, "-ERR Client names cannot contain spaces, newlines or special characters.\r\n")
	}
	l.state(s).setName(args[2])
	return true, l.tell(s, "+OK\r\n")
}

// admitSetInfo: servers before 7.2 do not know it, and say so themselves.
func (l *loop) admitSetInfo(s *session, args [][]byte, frame []byte) (done, ok bool) {
	t := s.site.m.table.Load()
	switch _, known := t.flagsOf("client|setinfo"); {
	case !known:
		return false, false
	case !is(args[2], "lib-name") && !is(args[2], "lib-ver"):
		return true, l.tell(s, fmt.Sprintf("-ERR Unrecognized option '%s'\r\n", oneLine(string(args[2]))))
	case !printable(args[3]):
		return true, l.tell(s, fmt.Sprintf("-ERR %s cannot contain spaces, newlines or special characters.\r\n", args[2]))
	}
	l.state(s).acceptClient(args, frame)
	return true, l.tell(s, "+OK\r\n")
}

// printable is what Redis allows in a client's name (validateClientAttr).
func printable(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

// name is the reply to CLIENT GETNAME.
func (s *session) name() string {
	if s.vec != nil {
		if cmd := s.vec.settings[settingName]; cmd != nil {
			name := resp.Args(nil, cmd)[2]
			return "$" + strconv.Itoa(len(name)) + "\r\n" + string(bytes.Clone(name)) + "\r\n"
		}
		if s.vec.proto == 3 {
			return "_\r\n"
		}
	}
	return "$-1\r\n"
}

// tell answers for Redis, in its words and with nothing pending. False: the
// session is closed.
func (l *loop) tell(s *session, text string) bool {
	s.accepted()
	s.site.count.add(statAnswered, 1)
	return l.send(s, []byte(text))
}
