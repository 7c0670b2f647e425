package soak

import (
	"crypto/sha1"
	"fmt"
	"time"
)

// act does one thing. Most of it is ordinary; the rest is what moves a session
// between shared upstreams and one of its own.
func (c *client) act() error {
	k := c.main
	switch n := c.r.IntN(1000); {
	case n < 500:
		return k.say(k.pipeline(k.length())...)
	case n < 560:
		return k.transaction()
	case n < 590:
		return k.watched()
	case n < 620:
		return k.block()
	case n < 640:
		return k.stream()
	case n < 670:
		return k.listen()
	case n < 720:
		return k.selects()
	case n < 760:
		return k.hello()
	case n < 800:
		return k.login()
	case n < 840:
		return k.names()
	case n < 870:
		return k.plainWords()
	case n < 885:
		return k.track()
	case n < 900:
		return k.apart()
	case n < 920:
		return k.large()
	case n < 990:
		return k.end()
	}
	return k.slowly()
}

// length is of a pipeline: mostly short, up to 500.
func (k *conn) length() int {
	switch n := k.r.IntN(100); {
	case n < 50:
		return 1
	case n < 90:
		return 1 + k.r.IntN(16)
	case n < 98:
		return 1 + k.r.IntN(100)
	}
	return 1 + k.r.IntN(500)
}

// pipeline is so many ordinary commands.
func (k *conn) pipeline(n int) (turns []turn) {
	for range n {
		turns = append(turns, k.ordinary()...)
	}
	return turns
}

const echoScript = "return ARGV[1]"

var echoSHA = fmt.Sprintf("%x", sha1.Sum([]byte(echoScript)))

// ordinary is one command, or a few that belong together.
func (k *conn) ordinary() []turn {
	t := k.token()
	switch n := k.r.IntN(100); {
	case n < 15:
		return []turn{says(bulk(t), "ECHO", t)}
	case n < 20:
		return []turn{says(bulk(t), "PING", t)}
	case n < 35:
		return []turn{k.get()}
	case n < 50:
		return []turn{k.set(k.size(4 << 10))}
	case n < 62:
		return k.incr()
	case n < 68:
		return []turn{says(bulk(t), "EVAL", echoScript, "0", t)}
	case n < 70:
		return []turn{says(bulk(t), "EVAL", echoScript, "0", t), says(bulk(t), "EVALSHA", echoSHA, "0", t)}
	case n < 74:
		return []turn{says(array(bulk(t), integer(k.seq), array(bulk(t))), "EVAL", "return {ARGV[1], tonumber(ARGV[2]), {ARGV[1]}}", "0", t, fmt.Sprint(k.seq))}
	case n < 78:
		return k.list(t)
	case n < 82:
		key := k.fresh("h")
		return []turn{says(integer(1), "HSET", key, "f", t), reads(bulk(t), "HGET", key, "f"), reads(integer(1), "DEL", key)}
	case n < 86:
		return []turn{k.mget()}
	}
	return k.mistake()
}

func (k *conn) list(t string) []turn {
	key := k.fresh("l")
	return []turn{says(integer(2), "RPUSH", key, t, "x"+t), reads(array(bulk(t), bulk("x"+t)), "LRANGE", key, "0", "-1"),
		reads(bulk(t), "LPOP", key), reads(integer(1), "DEL", key)}
}

// places is how many keys of a kind a client has in each database, for each user.
const places = 4

func (k *conn) place(kind string) string { return k.key(fmt.Sprint(kind, k.r.IntN(places))) }

// get reads a key whose value is known, or writes one.
func (k *conn) get() turn {
	key := k.place("k")
	v, known := k.known(key)
	if !known {
		return k.put(key, k.token())
	}
	return reads(bulk(v.text), "GET", key)
}

func (k *conn) set(n int) turn { return k.put(k.place("k"), k.text(n)) }

func (k *conn) put(key, text string) turn {
	k.store(key, value{text: text, at: time.Now()})
	return says(ok, "SET", key, text, "PX", keyLife)
}

func (k *conn) mget() turn {
	words, want := []string{"MGET"}, []string{}
	for i := range places {
		key := k.key(fmt.Sprint("k", i))
		if v, known := k.known(key); known {
			words, want = append(words, key), append(want, bulk(v.text))
		}
	}
	words, want = append(words, k.fresh("none")), append(want, k.null())
	return reads(array(want...), words...)
}

// incr counts: each INCR is applied exactly once, or its outcome is unknown.
func (k *conn) incr() []turn {
	slot := k.key(fmt.Sprint("counter", k.r.IntN(places)))
	v, known := k.known(slot)
	if !known {
		v = value{text: k.fresh("n"), at: time.Now(), count: 1}
		k.store(slot, v)
		return []turn{says(integer(1), "INCR", v.text), reads(integer(1), "PEXPIRE", v.text, keyLife)}
	}
	v.count++
	k.store(slot, v)
	return []turn{reads(integer(v.count), "INCR", v.text)}
}

// mistake is a command that Redis refuses.
func (k *conn) mistake() []turn {
	t := k.token()
	switch k.r.IntN(7) {
	case 0:
		key := k.fresh("s")
		return []turn{says(ok, "SET", key, t, "PX", keyLife),
			reads("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "LPUSH", key, t)}
	case 1:
		return []turn{says("-ERR unknown command 'NOSUCH', with args beginning with: '"+t+"' \r\n", "NOSUCH", t)}
	case 2:
		return []turn{says("-ERR wrong number of arguments for 'get' command\r\n", "GET", t, t)}
	case 3:
		return []turn{begins("-NOSCRIPT ", "EVALSHA", "0000000000000000000000000000000000000000", "0", t)}
	case 4:
		return []turn{begins("-MINE "+t, "EVAL", "return redis.error_reply('MINE ' .. ARGV[1])", "0", t)}
	case 5:
		return []turn{says("-ERR syntax error\r\n", "SET", k.fresh("k"), t, "NONSENSE")}
	}
	if k.user == 0 {
		return []turn{says("-ERR value is not an integer or out of range\r\n", "EXPIRE", k.fresh("k"), t)}
	}
	return []turn{begins("-NOPERM ", "GET", "nobodys:"+t)}
}

func (k *conn) large() error {
	const most = 2 << 20
	key := k.place("k")
	turns := append(k.pipeline(k.r.IntN(3)), k.put(key, k.text(k.size(most))))
	turns = append(turns, k.pipeline(k.r.IntN(3))...)
	v := k.values[k.at(key)]
	turns = append(turns, reads(bulk(v.text), "GET", key))
	turns = append(turns, k.pipeline(k.r.IntN(3))...)
	if k.chance(30) {
		t := k.text(k.size(most))
		turns = append(turns, says(bulk(t), "ECHO", t))
	}
	return k.say(turns...)
}

// plainWords are inline commands between others.
func (k *conn) plainWords() error {
	t := k.token()
	turns := k.pipeline(k.r.IntN(3))
	turns = append(turns, turn{say: "ECHO " + t + "\r\n", want: bulk(t)}, turn{say: "PING \"" + t + "\"\n", want: bulk(t)})
	if k.chance(30) {
		turns = append(turns, turn{say: "\r\nGET " + k.fresh("none") + "\r\n", want: k.null()})
	}
	return k.say(append(turns, k.pipeline(k.r.IntN(3))...)...)
}
