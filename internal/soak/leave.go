package soak

import (
	"errors"
	"strings"
)

// How a client goes.

var protocolErrors = map[string]string{
	"*x\r\n":                    "-ERR Protocol error: invalid multibulk length\r\n",
	"*1\r\n$-5\r\n":             "-ERR Protocol error: invalid bulk length\r\n",
	"*2\r\n$3\r\nGET\r\n:5\r\n": "-ERR Protocol error: expected '$', got ':'\r\n",
	"SET \"a\r\n":               "-ERR Protocol error: unbalanced quotes in request\r\n",
}

// end is one of the ways to go.
func (k *conn) end() error {
	switch k.r.IntN(9) {
	case 0: // in order
		return k.endWith(says(ok, "QUIT"))
	case 1: // with something behind, which nobody answers
		t := says(ok, "QUIT")
		t.say += request("SET", k.fresh("k"), k.token())
		return k.endWith(t)
	case 2:
		bad := k.of("*x\r\n", "*1\r\n$-5\r\n", "*2\r\n$3\r\nGET\r\n:5\r\n", "SET \"a\r\n")
		return k.endWith(turn{say: bad, want: protocolErrors[bad]})
	case 3: // half-closed: what was sent is answered
		was := k.run.look()
		turns := k.light()
		k.transmitAll(turns)
		_ = k.closeWrite()
		return k.rest(turns, was)
	case 4: // in the middle of a command
		turns := append(k.pipeline(k.r.IntN(5)), k.set(k.size(200<<10)))
		all := ""
		for _, t := range turns {
			all += t.say
		}
		k.write(all[:len(all)-1-k.r.IntN(min(len(all)-1, len(turns[len(turns)-1].say)))])
		return k.vanish()
	case 5: // in the middle of a large command's answer
		if err := k.say(k.set(k.size(1 << 20))); err != nil {
			return err
		}
		k.transmit([]turn{k.get(), k.get(), k.get()})
		_ = k.fill()
		return k.vanish()
	case 6: // while something blocks
		turns := append(k.pipeline(k.r.IntN(3)), turn{say: request("BLPOP", k.fresh("q"), "30")})
		k.transmit(append(turns, k.pipeline(k.r.IntN(3))...))
		return k.vanish()
	case 7: // in the middle of a transaction, or watching
		k.transmit(append([]turn{says(ok, k.of("MULTI", "UNWATCH"))}, k.pipeline(k.r.IntN(5))...))
		return k.vanish()
	}
	was := k.run.look()
	turns := k.pipeline(1 + k.r.IntN(30))
	k.transmit(turns)
	for _, t := range turns[:k.r.IntN(len(turns))] {
		if err := k.judge(t, was); err != nil {
			return err
		}
	}
	return k.vanish()
}

// light is what Redis answers a client that has closed its side: no more than it
// gives with its first write, and nothing that it lets wait (CLIENT PAUSE WRITE),
// for both are lost when it reads the end.
func (k *conn) light() (turns []turn) {
	for range 1 + k.r.IntN(10) {
		t := k.token()
		turns = append(turns, says(bulk(t), k.of("ECHO", "PING"), t), says(k.null(), "GET", k.fresh("none")))
	}
	return turns
}

// vanish goes with answers outstanding: what they would have been is unknown.
func (k *conn) vanish() error {
	k.leave(k.chance(50))
	k.astray = true
	return errLeft
}

// endWith ends with a command after which nothing comes.
func (k *conn) endWith(last turn) error {
	was := k.run.look()
	turns := append(k.pipeline(k.r.IntN(20)), last)
	k.transmitAll(turns)
	return k.rest(turns, was)
}

// transmitAll is transmit, over when all is written.
func (k *conn) transmitAll(turns []turn) {
	var b strings.Builder
	for _, t := range turns {
		b.WriteString(t.say)
		k.note("> %s", t.name())
	}
	k.write(b.String())
}

// rest reads the last answers and the end.
func (k *conn) rest(turns []turn, was calm) error {
	for _, t := range turns {
		if err := k.judge(t, was); err != nil {
			return err
		}
	}
	f, err := k.next()
	switch {
	case err == nil:
		return k.wrong("received %q after the last answer", cropped(f))
	case !errors.Is(err, errEnded):
		return err
	}
	k.leave(false)
	return errLeft
}
