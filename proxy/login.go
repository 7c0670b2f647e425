package proxy

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"strconv"

	"holdfast/resp"
)

// A listener's own password is checked here, as Redis checks requirepass, with
// Redis' texts and limits; a client that has not presented it costs no upstream.

const (
	textNoAuth    = "-NOAUTH Authentication required.\r\n"
	textWrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	textHelloAuth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
	textAuthUsage = "-ERR wrong number of arguments for 'auth' command\r\n"
	textSyntax    = "-ERR syntax error\r\n"
	textNoVersion = "-ERR Protocol version is not an integer or out of range\r\n"
	textNoProto   = "-NOPROTO unsupported protocol version\r\n"
)

// admitStranger serves a client that has not presented the password: it may do
// what Redis allows without authentication. Nothing of its is ever pending.
func (l *loop) admitStranger(s *session, k kind, frame []byte) bool {
	switch k {
	case kindAuth, kindHello:
		return l.admitLogin(s, k, frame)
	case kindReset:
		return l.reply(s, "+RESET\r\n")
	}
	return l.reply(s, textNoAuth)
}

// reply answers a command that is not passed on, with nothing pending. False:
// the session is closed.
func (l *loop) reply(s *session, text string) bool {
	s.accepted()
	if text[0] == '-' {
		s.site.count.refuse(refusedAuth)
	} else {
		s.site.count.add(statAnswered, 1)
	}
	return l.send(s, []byte(text))
}

// admitLogin deals with AUTH, and with the AUTH in HELLO; what HELLO says
// besides is passed on without it.
func (l *loop) admitLogin(s *session, k kind, frame []byte) bool {
	args := resp.Args(nil, frame)
	if k == kindAuth {
		switch {
		case len(args) < 2:
			return l.reply(s, textAuthUsage)
		case len(args) > 3:
			return l.reply(s, textSyntax)
		}
		user := []byte("default")
		if len(args) == 3 {
			user = args[1]
		}
		if !l.login(s, user, args[len(args)-1]) {
			return l.reply(s, textWrongPass)
		}
		return l.reply(s, "+OK\r\n")
	}
	h, fault := parseHello(args)
	switch {
	case fault != "":
		return l.reply(s, fault)
	case h.given && !l.login(s, h.user, h.pass):
		return l.reply(s, textWrongPass)
	case !s.authed:
		return l.reply(s, textHelloAuth)
	}
	if s.shares() && !l.pinTo(s, pinLogin, h.proto) {
		return false
	}
	if s.phase == phaseIdle {
		l.need(s)
	}
	if s.phase != phaseAttached || !s.up.usable() {
		return false
	}
	if s.pend != nil {
		s.stalled = true
		return false
	}
	s.solo = true
	l.push(s, kindHello, command(h.rest...))
	return true
}

func (l *loop) login(s *session, user, pass []byte) bool {
	ok := bytes.Equal(user, []byte("default")) && subtle.ConstantTimeCompare(pass, []byte(s.on.cfg.Password)) == 1
	if ok {
		s.authed = true
		s.req.Unauthenticated(false)
	}
	return ok
}

// hello is HELLO taken apart: its login, and the command without it.
type hello struct {
	given      bool
	user, pass []byte
	proto      int // 0: it names none
	rest       []string
}

// parseHello finds what helloCommand would find wrong, in its order.
func parseHello(args [][]byte) (h hello, fault string) {
	h.rest = []string{"HELLO"}
	if len(args) > 1 {
		version, err := strconv.Atoi(string(args[1]))
		switch {
		case err != nil:
			return h, textNoVersion
		case version != 2 && version != 3:
			return h, textNoProto
		}
		h.proto, h.rest = version, append(h.rest, string(args[1]))
	}
	for i := 2; i < len(args); i++ {
		switch more := len(args) - 1 - i; {
		case is(args[i], "auth") && more >= 2:
			h.given, h.user, h.pass = true, args[i+1], args[i+2]
			i += 2
		case is(args[i], "setname") && more >= 1:
			h.rest = append(h.rest, "SETNAME", string(args[i+1]))
			i++
		default:
			return h, fmt.Sprintf("-ERR Syntax error in HELLO option '%s'\r\n", oneLine(string(args[i])))
		}
	}
	return h, ""
}
