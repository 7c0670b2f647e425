package chaos

import (
	"strconv"
	"time"
)

// The pace of the sources. A troupe of 31 clients writes about two times per
// millisecond in all: enough to see a loss of a few milliseconds, and little
// enough for two cores that also run the cluster.
const (
	writerPace   = 5 * time.Millisecond
	scripterPace = 20 * time.Millisecond
	selectorPace = 20 * time.Millisecond
	namerPace    = 20 * time.Millisecond
	newcomerPace = 25 * time.Millisecond
)

// sequence makes ids that name their owner, so that a stray one is recognised.
type sequence struct {
	owner string
	n     int
}

func (s *sequence) next() string {
	s.n++
	return s.owner + ":" + strconv.Itoa(s.n)
}

// writer appends its ids to a list of its own, and sets a key for every other.
type writer struct {
	*client
	ids  sequence
	list *series
	keys *series
}

func newWriter(c *client) player {
	w := &writer{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name), keys: c.newSeries("keys")}
	w.keys.spread = true
	return w
}

func (w *writer) play() { w.every(writerPace, w.turn) }

func (w *writer) turn() {
	id := w.ids.next()
	if w.ids.n%2 == 0 {
		w.write(w.keys, id, isOK, "SET", id, id)
		return
	}
	w.write(w.list, id, isInteger, "RPUSH", w.list.key, id)
}

// selector works in database 3.
type selector struct {
	*client
	ids  sequence
	list *series
}

func newSelector(c *client) player {
	s := &selector{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name)}
	s.list.db = "3"
	s.greet = func() bool {
		_, ok := s.ask(isOK, "SELECT", s.list.db)
		return ok
	}
	return s
}

func (s *selector) play() { s.every(selectorPace, s.turn) }

func (s *selector) turn() {
	id := s.ids.next()
	s.write(s.list, id, isInteger, "RPUSH", s.list.key, id)
}

// namer has named its connection and asks for the name again and again.
type namer struct{ *client }

func newNamer(c *client) player {
	n := &namer{client: c}
	n.greet = func() bool {
		_, ok := n.ask(isOK, "CLIENT", "SETNAME", n.name)
		return ok
	}
	return n
}

func (n *namer) play() { n.every(namerPace, n.turn) }

func (n *namer) turn() {
	r, ok := n.ask(isBulk, "CLIENT", "GETNAME")
	if ok && r.text == "" {
		n.lost["name"]++
		n.hangUp()
	} else if ok && r.text != n.name {
		n.mistaken(r, "CLIENT GETNAME")
	}
}

// newcomer connects, writes once, and leaves.
type newcomer struct {
	*client
	ids  sequence
	list *series
}

func newNewcomer(c *client) player {
	return &newcomer{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name)}
}

func (n *newcomer) play() { n.every(newcomerPace, n.turn) }

func (n *newcomer) turn() {
	id := n.ids.next()
	n.write(n.list, id, isInteger, "RPUSH", n.list.key, id)
	n.hangUp()
}

// script appends ARGV[1] to the list KEYS[1] and returns it.
const script = `redis.call("RPUSH", KEYS[1], ARGV[1]) return ARGV[1]`

// scripter runs it by its digest, and every tenth time by its text.
type scripter struct {
	*client
	ids  sequence
	list *series
	sha  string
}

func newScripter(c *client) player {
	s := &scripter{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name)}
	s.greet = func() bool {
		r, ok := s.ask(func(r reply) bool { return isBulk(r) && len(r.text) == 40 }, "SCRIPT", "LOAD", script)
		s.sha = r.text
		return ok
	}
	return s
}

func (s *scripter) play() { s.every(scripterPace, s.turn) }

func (s *scripter) turn() {
	id := s.ids.next()
	command, body := "EVALSHA", s.sha
	if s.ids.n%10 == 0 {
		command, body = "EVAL", script
	}
	s.write(s.list, id, isText(id), command, body, "1", s.list.key, id)
}
