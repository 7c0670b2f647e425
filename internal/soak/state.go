package soak

import (
	"fmt"
	"slices"
	"strings"
)

// What a client makes of its connection.

// transaction is MULTI with EXEC or DISCARD; what is queued is answered in EXEC.
func (k *conn) transaction() error {
	turns := append(k.pipeline(k.r.IntN(3)), says(ok, "MULTI"))
	before := k.snapshot()
	inside := k.quotable()
	var results []string
	for _, t := range inside {
		results = append(results, t.want)
		turns = append(turns, turn{say: t.say, want: status("QUEUED")})
	}
	if k.chance(20) {
		k.values = before // as if nothing had been said
		turns = append(turns, says(ok, "DISCARD"))
	} else {
		turns = append(turns, turn{say: request("EXEC"), want: array(results...), data: true})
	}
	return k.say(append(turns, k.pipeline(k.r.IntN(3))...)...)
}

// quotable are commands whose answers are known in full.
func (k *conn) quotable() (turns []turn) {
	for range 1 + k.r.IntN(5) {
		for _, t := range k.ordinary() {
			if t.like == nil && !strings.HasPrefix(t.want, "-ERR ") { // which would abort it
				turns = append(turns, t)
			}
		}
	}
	return turns
}

func (k *conn) snapshot() map[string]value {
	copied := make(map[string]value, len(k.values))
	for key, v := range k.values {
		copied[key] = v
	}
	return copied
}

// watched is an optimistic transaction: what another changes meanwhile makes it
// null.
func (k *conn) watched() error {
	key := k.place("k")
	turns := []turn{says(ok, "WATCH", key), k.put(k.fresh("other"), k.token())}
	if v, known := k.known(key); known {
		turns = append(turns, reads(bulk(v.text), "GET", key))
	}
	switch k.r.IntN(5) {
	case 0:
		return k.say(append(turns, says(ok, "UNWATCH"))...)
	case 1:
		if err := k.say(turns...); err != nil {
			return err
		}
		return k.meddled(key)
	}
	w := k.put(key, k.token())
	turns = append(turns, says(ok, "MULTI"), turn{say: w.say, want: status("QUEUED")},
		turn{say: request("EXEC"), want: array(ok), data: true, void: true})
	return k.say(turns...)
}

// meddled: another connection changes the watched key.
func (k *conn) meddled(key string) error {
	w := k.put(key, k.token())
	if err := k.aside(func(o *conn) error { return o.say(w) }); err != nil {
		return err
	}
	t := k.token()
	exec := turn{say: request("EXEC"), want: k.nullArray(), data: true, void: true}
	return k.say(says(ok, "MULTI"), turn{say: request("ECHO", t), want: status("QUEUED")}, exec)
}

// aside does something on another connection, on the same database.
func (k *conn) aside(do func(*conn) error) error {
	o, err := k.dial()
	if err != nil {
		return k.wrong("cannot connect beside: %v", err)
	}
	defer o.leave(k.chance(50))
	if k.db != 0 {
		if err := o.say(says(ok, "SELECT", fmt.Sprint(k.db))); err != nil {
			return err
		}
		o.db = k.db
	}
	return do(o)
}

func (k *conn) selects() error {
	db := k.r.IntN(4)
	before := k.pipeline(k.r.IntN(4))
	k.db = db
	turns := append(before, says(ok, "SELECT", fmt.Sprint(db)))
	turns = append(turns, k.pipeline(1+k.r.IntN(4))...)
	if k.chance(20) {
		turns = append(turns, begins("-ERR ", "SELECT", k.of("99", "x")))
	}
	return k.say(turns...)
}

// hello switches the protocol; what follows is answered in the new one.
func (k *conn) hello() error {
	turns := k.pipeline(k.r.IntN(4))
	k.proto = 2 + k.r.IntN(2)
	words := []string{"HELLO", fmt.Sprint(k.proto)}
	if k.chance(30) {
		k.user = k.r.IntN(users + 1)
		words = append(words, "AUTH", k.as(), k.secret())
	}
	if k.chance(30) {
		k.name = k.token()
		words = append(words, "SETNAME", k.name)
	}
	head, proto := "*14\r\n", bulk("proto")+integer(k.proto)
	if k.proto == 3 {
		head = "%7\r\n"
	}
	turns = append(turns, turn{say: request(words...), like: func(f string) bool {
		return strings.HasPrefix(f, head) && strings.Contains(f, proto) && strings.Contains(f, bulk("role")+bulk("master"))
	}})
	return k.say(append(turns, k.pipeline(1+k.r.IntN(4))...)...)
}

func (k *conn) as() string {
	if k.user == 0 {
		return "default"
	}
	return userName(k.user)
}

func (k *conn) secret() string { return password(k.user) }

// login switches the user, with the right password or a wrong one.
func (k *conn) login() error {
	turns := k.pipeline(k.r.IntN(4))
	if k.chance(30) {
		turns = append(turns, begins("-WRONGPASS ", "AUTH", userName(1+k.r.IntN(users)), "wrong"))
	} else {
		k.user = k.r.IntN(users + 1)
		turns = append(turns, says(ok, "AUTH", k.as(), k.secret()), says(bulk(k.as()), "ACL", "WHOAMI"))
	}
	return k.say(append(turns, k.pipeline(1+k.r.IntN(4))...)...)
}

func (k *conn) names() error {
	turns := k.pipeline(k.r.IntN(3))
	for range 1 + k.r.IntN(3) {
		switch k.r.IntN(3) {
		case 0:
			k.name = k.token()
			turns = append(turns, says(ok, "CLIENT", "SETNAME", k.name))
		case 1:
			turns = append(turns, begins("-ERR Client names ", "CLIENT", "SETNAME", "not "+k.token()))
		}
		turns = append(turns, says(k.called(), "CLIENT", "GETNAME"))
	}
	return k.say(append(turns, k.pipeline(k.r.IntN(3))...)...)
}

func (k *conn) called() string {
	if k.name == "" {
		return k.null()
	}
	return bulk(k.name)
}

// apart does what needs an upstream of its own for good, and takes it back.
func (k *conn) apart() error {
	turns := k.pipeline(k.r.IntN(3))
	switch k.r.IntN(3) {
	case 0:
		turns = append(turns, k.inAnyWords(begins(":", "CLIENT", "ID")))
	case 1:
		name, db := " name="+k.name+" ", fmt.Sprintf(" db=%d ", k.db)
		user := fmt.Sprintf(" user=%s ", k.as())
		turns = append(turns, turn{say: request("CLIENT", "INFO"), like: func(f string) bool {
			return strings.Contains(f, name) && strings.Contains(f, db) && strings.Contains(f, user)
		}})
	case 2:
		turns = append(turns, k.inAnyWords(says(ok, "CLIENT", "NO-EVICT", "on")))
	}
	turns = append(turns, k.pipeline(k.r.IntN(5))...)
	if k.chance(70) {
		turns = append(turns, says("+RESET\r\n", "RESET"))
		k.proto, k.db, k.user, k.name = 2, 0, 0, ""
		turns = append(turns, k.pipeline(1+k.r.IntN(5))...)
	}
	return k.say(turns...)
}

// slowly reads large answers at a slow reader's pace.
func (k *conn) slowly() error {
	if err := k.say(k.set(200 << 10)); err != nil {
		return err
	}
	k.slow = slowPace
	defer func() { k.slow = 0 }()
	var turns []turn
	for range 10 {
		turns = append(turns, k.get())
	}
	return k.say(slices.Concat(turns, k.pipeline(3))...)
}
