package soak

import (
	"slices"
	"strings"
	"time"

	"holdfast/resp"
)

// What a client waits for, or gets without asking.

const slowPace = 5 * time.Millisecond

// block waits for an element of its own list, which it has pushed itself or
// another connection of its pushes.
func (k *conn) block() error {
	key, t := k.fresh("q"), k.token()
	pop := turn{say: request(k.of("BLPOP", "BRPOP"), key, "20"), want: array(bulk(key), bulk(t)), data: true, void: true}
	switch k.r.IntN(4) {
	case 0:
		turns := append(k.pipeline(k.r.IntN(3)), says(integer(1), "RPUSH", key, t), pop)
		return k.say(append(turns, k.pipeline(k.r.IntN(3))...)...)
	case 1:
		nothing := turn{say: request("BLPOP", key, "0.02"), want: k.nullArray()}
		return k.say(nothing, says(bulk(t), "ECHO", t))
	}
	was := k.run.look()
	turns := append(k.pipeline(k.r.IntN(3)), pop)
	turns = append(turns, k.pipeline(k.r.IntN(3))...)
	k.transmit(turns)
	err := k.aside(func(o *conn) error {
		return o.say(turn{say: request("RPUSH", key, t), like: func(f string) bool {
			return f == integer(1) || f == integer(0) // 0: it was given to who waited, at once, by a server that counts so
		}})
	})
	if err != nil {
		return err
	}
	for _, t := range turns {
		if err := k.judge(t, was); err != nil {
			return err
		}
	}
	return nil
}

// stream reads a stream of its own, waiting or not.
func (k *conn) stream() error {
	key, t := k.fresh("x"), k.token()
	entry := array(bulk("1-1"), array(bulk("f"), bulk(t)))
	want := array(array(bulk(key), array(entry)))
	if k.proto == 3 {
		want = "%1\r\n" + bulk(key) + array(entry)
	}
	turns := append(k.pipeline(k.r.IntN(3)), says(bulk("1-1"), "XADD", key, "1-1", "f", t))
	turns = append(turns, reads(want, "XREAD", "BLOCK", "5000", "STREAMS", key, "0"),
		turn{say: request("XREAD", "BLOCK", "10", "STREAMS", key, "1-1"), want: k.nullArray()},
		reads(want, "XREAD", "STREAMS", key, "0"), reads(integer(1), "DEL", key))
	return k.say(append(turns, k.pipeline(k.r.IntN(3))...)...)
}

// confirmed is the answer to a subscription.
func (k *conn) confirmed(what, channel string, n int) string {
	f := array(bulk(what), bulk(channel), integer(n))
	if k.proto == 3 {
		return ">" + f[1:]
	}
	return f
}

// listen subscribes to a channel of its own, on which another connection of its
// says something. All of it comes, and nothing else.
func (k *conn) listen() error {
	channel, was := k.token(), k.run.look()
	if err := k.say(says(k.confirmed("subscribe", channel, 1), "SUBSCRIBE", channel)); err != nil {
		return err
	}
	k.subscribed, k.messages = true, nil
	defer func() { k.subscribed = false }()
	var sent []string
	err := k.aside(func(o *conn) error {
		var turns []turn
		for range 1 + k.r.IntN(10) {
			t := k.text(k.size(2 << 10))
			sent = append(sent, channel+" "+t)
			turns = append(turns, turn{say: request("PUBLISH", channel, t), want: integer(1), data: true, like: func(f string) bool {
				return f == integer(1) || !k.run.quiet(was) && f == integer(0)
			}})
		}
		return o.say(turns...)
	})
	if err != nil {
		return err
	}
	turns := []turn{}
	if k.proto == 3 {
		turns = k.pipeline(k.r.IntN(3))
	} else if k.chance(50) {
		t := k.token()
		turns = append(turns, says(array(bulk("pong"), bulk(t)), "PING", t))
	}
	turns = append(turns, says(k.confirmed("unsubscribe", channel, 0), "UNSUBSCRIBE", channel))
	if err := k.say(turns...); err != nil {
		return err
	}
	switch quiet := k.run.quiet(was); {
	case quiet && !slices.Equal(k.messages, sent):
		return k.wrong("received %q of what was published: %q", k.messages, sent)
	case !within(k.messages, sent):
		return k.wrong("received %q, which is not in the order of what was published: %q", k.messages, sent)
	}
	return nil
}

// within says whether some are among all, in the same order.
func within(some, all []string) bool {
	for _, s := range some {
		i := slices.Index(all, s)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// track has its own keys' changes told.
func (k *conn) track() error {
	if k.proto != 3 {
		if err := k.say(begins("%7\r\n", "HELLO", "3")); err != nil {
			return err
		}
		k.proto = 3
	}
	was := k.run.look()
	key := k.fresh("t")
	turns := []turn{k.inAnyWords(says(ok, "CLIENT", "TRACKING", "on")), k.put(key, k.token())}
	v := k.values[k.at(key)]
	turns = append(turns, reads(bulk(v.text), "GET", key), k.put(key, k.token()))
	t := k.token()
	turns = append(turns, says(bulk(t), "PING", t))
	if err := k.say(turns...); err != nil {
		return err
	}
	if k.run.quiet(was) && !k.dropped[key] {
		return k.wrong("the change of %s was not told, but only %v", key, k.dropped)
	}
	for dropped := range k.dropped {
		if !strings.Contains(dropped, k.mark) {
			return k.wrong("FOREIGN: told of %s", dropped)
		}
	}
	clear(k.dropped)
	if k.chance(70) {
		turns = []turn{k.inAnyWords(says(ok, "CLIENT", "TRACKING", "off"))}
		if k.chance(70) {
			turns = append(turns, says("+RESET\r\n", "RESET"))
			k.proto, k.db, k.user, k.name = 2, 0, 0, ""
		}
		return k.say(turns...)
	}
	return nil
}

// inAnyWords may say the same in plain words.
func (k *conn) inAnyWords(t turn) turn {
	if k.chance(30) {
		var words []string
		for _, a := range resp.Args(nil, []byte(t.say)) {
			words = append(words, string(a))
		}
		t.say = strings.Join(words, " ") + "\r\n"
	}
	return t
}
