package chaos

import (
	"strconv"
	"sync/atomic"
	"time"
)

const (
	changerPace = 50 * time.Millisecond
	cacherPace  = 20 * time.Millisecond
	// agedAfter is how long a cacher may hold a value after it has noticed that a
	// newer one was acknowledged: an invalidation takes a few milliseconds, and one
	// more second than that where the new master is not believed at once.
	agedAfter = 2 * time.Second
)

// changer raises a number that a cacher caches.
type changer struct {
	*client
	key    string
	n      int64
	newest *atomic.Int64 // the last acknowledged one
}

func newChanger(c *client, key string, newest *atomic.Int64) player {
	return &changer{client: c, key: key, newest: newest}
}

func (c *changer) play() { c.every(changerPace, c.turn) }

func (c *changer) turn() {
	c.n++
	if _, ok := c.ask(isOK, "SET", c.key, strconv.FormatInt(c.n, 10)); ok {
		c.newest.Store(c.n)
	}
}

// cacher keeps the value until the server invalidates it (CLIENT TRACKING).
type cacher struct {
	*client
	key    string
	newest *atomic.Int64

	cached int64         // 0: nothing
	since  time.Duration // when it was first seen to be old; 0: it is not
}

func newCacher(c *client, key string, newest *atomic.Int64) player {
	k := &cacher{client: c, key: key, newest: newest}
	k.greet = k.track
	return k
}

func (k *cacher) track() bool {
	k.cached, k.since = 0, 0
	k.conn.pushed = k.invalidate
	if _, ok := k.ask(isMap, "HELLO", "3"); !ok {
		return false
	}
	_, ok := k.ask(isOK, "CLIENT", "TRACKING", "ON")
	return ok
}

// invalidate takes a push: the names that are no longer valid, null for all.
func (k *cacher) invalidate(r reply) {
	if !r.is("invalidate") || len(r.elems) != 2 {
		return
	}
	if names := r.elems[1]; names.null || names.is(k.key) {
		k.cached, k.since = 0, 0
	}
}

func (k *cacher) play() { k.every(cacherPace, k.turn) }

func (k *cacher) turn() {
	if k.cached == 0 {
		k.fetch()
		return
	}
	// Invalidations that were sent before this reply stand before it.
	if _, ok := k.ask(isText("PONG"), "PING"); !ok || k.cached == 0 {
		return
	}
	switch {
	case k.newest.Load() <= k.cached:
		k.since = 0
	case k.since == 0:
		k.since = k.clock()
	case k.clock()-k.since > agedAfter:
		k.suspect()
	}
}

func (k *cacher) fetch() {
	r, ok := k.ask(isBulk, "GET", k.key)
	switch {
	case !ok:
	case !r.null && r.number() < 1:
		k.mistaken(r, "GET "+k.key)
	default:
		k.cached, k.since = max(r.number(), 0), 0
	}
}

// suspect reads the value again: if it is the cached one, then the newer one has
// been lost, and the cache is right.
func (k *cacher) suspect() {
	held := k.cached
	k.fetch()
	if k.conn != nil && k.cached != held {
		k.aged++
		k.lost["tracking"]++
	}
}
