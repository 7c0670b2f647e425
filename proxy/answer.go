package proxy

import (
	"fmt"
	"time"
)

// answer is a reply that holdfast makes up. Errors begin with the prefix that
// client libraries act on.
type answer uint16

const (
	answerUncertain     answer = iota // sent, never answered
	answerExpired                     // waited longer than hold.max_wait
	answerTooLarge                    // interrupted on its way, and too large to be kept
	answerReplica                     // replication commands
	answerNull                        // EXEC after a WATCH that was lost
	answerNoMulti                     //
	answerNoReplicas                  // WAIT whose writes were made elsewhere
	answerReplyInMulti                // CLIENT REPLY in a transaction
	answerStateTooLarge               // a command that would have to be replayed, above limits.replay_bytes
)

func (a answer) text(s *session) []byte {
	switch a {
	case answerUncertain:
		return []byte("-UNCERTAIN the connection to the master was lost after this command was sent; it may or may not have been applied\r\n")
	case answerExpired:
		return expired(s)
	case answerTooLarge:
		return []byte("-MASTERDOWN the master was lost while this command was being sent; it was not executed and is too large to be kept\r\n")
	case answerReplica:
		return []byte("-ERR replication commands are not passed on by holdfast; connect to the master itself\r\n")
	case answerNull:
		if s.vec.resp3() {
			return []byte("_\r\n")
		}
		return []byte("*-1\r\n")
	case answerReplyInMulti:
		return []byte("-ERR CLIENT REPLY inside MULTI is not passed on by holdfast\r\n")
	case answerStateTooLarge:
		return []byte("-ERR this command changes the connection and is too large to be carried through a failover (limits.replay_bytes)\r\n")
	case answerNoMulti:
		return []byte("-ERR EXEC without MULTI\r\n")
	case answerNoReplicas:
		return []byte(":0\r\n")
	}
	panic(fmt.Sprintf("proxy: no text for answer %d", a))
}

// expired says why there is no master and for how long the command waited.
func expired(s *session) []byte {
	why := s.site.view.Reason
	if s.site.view.Serving() && s.site.trouble != "" {
		why = s.site.trouble
	}
	waited := s.l.now.Sub(s.waitingSince).Round(time.Millisecond)
	return fmt.Appendf(nil, "-MASTERDOWN no master for %q after waiting %s: %s; the command was not executed\r\n",
		s.site.m.name, waited, oneLine(why))
}

// oneLine keeps a reason from breaking the framing.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}

// reason is under what the answer is counted.
func (a answer) reason() refused {
	switch a {
	case answerUncertain:
		return refusedUncertain
	case answerExpired:
		return refusedExpired
	case answerTooLarge:
		return refusedTooLarge
	case answerNull, answerNoReplicas:
		return refusedMoved
	}
	return refusedPolicy
}

// answer gives an answer of our own, now or in its turn.
func (l *loop) answer(s *session, a answer) {
	if s.mute || s.skip {
		s.skip = false
		s.site.count.refuse(a.reason())
		return
	}
	if s.vec != nil && s.vec.multi != nil && s.up != nil {
		// Redis aborts a transaction of which a command was refused. The node
		// knows nothing of this one; the next connection will be told.
		s.vec.shed(kindReplica)
		s.up.superseded, s.up.leaving = true, true
	}
	if s.pend == nil {
		s.site.count.refuse(a.reason())
		l.send(s, a.text(s))
		return
	}
	s.pend.push(entry{kind: kindAnswer, want: uint16(a)}, nil)
}
