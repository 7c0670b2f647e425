package soak

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// client is one application: it connects, does all kinds of things, goes away in
// all kinds of ways, and connects again. One goroutine is all of it.
type client struct {
	run  *run
	id   int
	mark string
	r    *rand.Rand
	main *conn // nil while there is none

	seq        int
	generation int              // of keys; those of the last may be anything
	values     map[string]value // by database and key
	astray     bool             // an outcome is unknown: a new generation is due
	puzzles    []string         // answers of its own, but older ones, that only an unknown outcome explains
	slow       time.Duration    // before each reading
}

// value is what a client has stored. Everything is stored with a life of keyLife,
// and nothing older than keyAge is relied on, so that a cluster does not fill up
// with what clients left behind.
type value struct {
	text  string // of a string
	count int    // of a counter
	at    time.Time
}

const (
	keyLife = "120000" // ms
	keyAge  = 30 * time.Second
)

func newClient(r *run, id int) *client {
	return &client{run: r, id: id, mark: markOf(id), r: rand.New(rand.NewPCG(r.Seed, uint64(id))), values: map[string]value{}}
}

// live ends when the run is over.
func (c *client) live() {
	for !c.run.over() {
		if c.main == nil && !c.connect() {
			return
		}
		err := c.act()
		if err == nil && len(c.puzzles) > 0 && !c.astray {
			c.run.loss(fmt.Sprintf("client %d: %s", c.id, c.puzzles[0]))
			c.astray = true
		}
		c.puzzles = nil
		switch {
		case errors.Is(err, errWrong), errors.Is(err, errEnded):
			c.depart(true)
		case errors.Is(err, errLeft):
			c.main = nil
		}
		if c.astray {
			c.renew()
		}
	}
	if c.main != nil {
		c.depart(c.r.IntN(2) == 0)
	}
}

// connect opens the main connection; that it cannot be opened is an end, too.
func (c *client) connect() bool {
	k, err := c.dial()
	if err != nil {
		c.run.mismatch(fmt.Sprintf("client %d cannot connect: %v", c.id, err))
		return false
	}
	c.main = k
	return true
}

// errLeft: the client has left on its own account.
var errLeft = errors.New("left")

// depart ends the main connection; what was under way is not known.
func (c *client) depart(rudely bool) {
	c.main.leave(rudely)
	c.main, c.astray = nil, true
}

// renew begins with fresh keys.
func (c *client) renew() {
	c.generation++
	clear(c.values)
	c.astray = false
}

// token is a word that nobody else says and that this client says but once.
func (c *client) token() string {
	c.seq++
	return fmt.Sprintf("%s%x.", c.mark, c.seq)
}

// text is a token of n bytes or more: the mark is in every part of it.
func (c *client) text(n int) string {
	t := c.token()
	if n <= len(t) {
		return t
	}
	return strings.Repeat(t, n/len(t)) + strings.Repeat("x", n%len(t))
}

// key names one of the client's own keys, which its user may use.
func (k *conn) key(name string) string {
	prefix := ""
	if k.user > 0 {
		prefix = fmt.Sprintf("u%d:", k.user)
	}
	return fmt.Sprintf("%s%s%d:%s", prefix, k.mark, k.generation, name)
}

func (k *conn) at(key string) string { return fmt.Sprint(k.db, "/", key) }

// known is what the client has stored there, if it may rely on it.
func (k *conn) known(key string) (value, bool) {
	v, ok := k.values[k.at(key)]
	return v, ok && time.Since(v.at) < keyAge
}

func (k *conn) store(key string, v value) { k.values[k.at(key)] = v }

// fresh is a key that was never used before.
func (k *conn) fresh(kind string) string {
	k.seq++
	return k.key(fmt.Sprint(kind, k.seq))
}

func (c *client) of(words ...string) string { return words[c.r.IntN(len(words))] }
func (c *client) chance(percent int) bool   { return c.r.IntN(100) < percent }

// size is a length in bytes: small ones are as likely as large ones are heavy.
func (c *client) size(most int) int {
	n := 1
	for n < most && c.r.IntN(100) < 70 {
		n *= 2
	}
	return min(most, n+c.r.IntN(n))
}
