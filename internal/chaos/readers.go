package chaos

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	readerPace    = 10 * time.Millisecond
	pipelinerPace = 100 * time.Millisecond
)

// idler connects, says nothing, and looks at the end whether it is still there.
type idler struct{ *client }

func newIdler(c *client) player { return &idler{client: c} }

func (i *idler) source() bool { return false }

func (i *idler) play() {
	for !i.ping() {
		select {
		case <-i.stop:
			return
		default:
		}
	}
	<-i.drain
	i.ping()
}

func (i *idler) ping() bool {
	if !i.ready() {
		return false
	}
	_, ok := i.ask(isText("PONG"), "PING")
	return ok
}

// reader reads its own writes, and those of its neighbour. Both go through the
// same endpoint, so what the endpoint has acknowledged before the read was sent
// must be there, however the master changes.
type reader struct {
	*client
	ids       sequence
	list      *series
	own       *atomic.Int64 // the number of the last acknowledged id
	neighbour *reader       // nil: has none
}

func newReader(c *client) *reader {
	return &reader{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name), own: new(atomic.Int64)}
}

func (r *reader) play() { r.every(readerPace, r.turn) }

func (r *reader) turn() {
	id := r.ids.next()
	if r.write(r.list, id, isInteger, "RPUSH", r.list.key, id) == acked {
		r.own.Store(int64(r.ids.n))
		r.look(r)
	}
	if r.neighbour != nil && r.conn != nil {
		r.look(r.neighbour)
	}
}

// look reads the last id of a list, which is at least as new as the last one that
// its owner was told of.
func (r *reader) look(at *reader) {
	floor := at.own.Load()
	last, ok := r.ask(isBulk, "LINDEX", at.list.key, "-1")
	if !ok {
		return
	}
	n, ok := numberOf(last, at.name)
	if !ok {
		r.mistaken(last, "LINDEX "+at.list.key)
		return
	}
	if n < floor {
		r.doubts = append(r.doubts, doubt{at.list.key, at.name + ":" + strconv.FormatInt(floor, 10)})
	}
}

// numberOf is the number in an id of this owner; 0 for none at all.
func numberOf(r reply, owner string) (int64, bool) {
	if r.null {
		return 0, true
	}
	text, ok := strings.CutPrefix(r.text, owner+":")
	n, err := strconv.ParseInt(text, 10, 64)
	return n, ok && err == nil
}

// pipeliner sends batches of 50 commands whose replies can be told apart.
type pipeliner struct {
	*client
	ids  sequence
	list *series
	keys *series
}

func newPipeliner(c *client) player {
	p := &pipeliner{client: c, ids: sequence{owner: c.name}, list: c.newSeries("list:" + c.name), keys: c.newSeries("keys")}
	p.keys.spread = true
	return p
}

// groups of 5 commands in a batch.
const groups = 10

func (p *pipeliner) play() { p.every(pipelinerPace, p.turn) }

func (p *pipeliner) turn() {
	first := p.ids.n + 1
	for range groups {
		id := p.ids.next()
		p.conn.queue("ECHO", "echo "+id)
		p.conn.queue("RPUSH", p.list.key, id)
		p.conn.queue("LINDEX", p.list.key, "-1")
		p.conn.queue("SET", id, id)
		p.conn.queue("PING", "ping "+id)
	}
	began := p.clock()
	if err := p.conn.flush(p.patience); err != nil {
		p.broken(err)
	}
	for i := range groups {
		p.group(p.name+":"+strconv.Itoa(first+i), began)
	}
}

// group reads the replies to one group. Without a connection it just records
// that the writes are unknown.
func (p *pipeliner) group(id string, began time.Duration) {
	p.next(isText("echo "+id), "ECHO", began)
	pushed := p.nextWrite(p.list, id, isInteger, "RPUSH", began)
	last, ok := p.next(isBulk, "LINDEX", began)
	if ok && pushed == acked && last.text != id {
		if _, own := numberOf(last, p.name); own {
			p.doubts = append(p.doubts, doubt{p.list.key, id})
		} else {
			p.mistaken(last, "LINDEX "+p.list.key)
		}
	}
	p.nextWrite(p.keys, id, isOK, "SET", began)
	p.next(isText("ping "+id), "PING", began)
}

func (p *pipeliner) next(wanted func(reply) bool, command string, began time.Duration) (reply, bool) {
	if p.conn == nil {
		return reply{}, false
	}
	r, ok := p.receive(began)
	return r, ok && p.settle(r, wanted, "pipelined "+command) == acked
}

func (p *pipeliner) nextWrite(s *series, id string, wanted func(reply) bool, command string, began time.Duration) outcome {
	o := unknown
	if p.conn != nil {
		if r, ok := p.receive(began); ok {
			o = p.settle(r, wanted, "pipelined "+command)
		}
	}
	s.record(id, began, p.clock(), o)
	return o
}
