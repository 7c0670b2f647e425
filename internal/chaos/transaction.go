package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	transferPace  = 40 * time.Millisecond
	incrementPace = 30 * time.Millisecond
	// thinking is the pause between two steps of a transaction: most of the time
	// one stands open, so a failover meets every step.
	thinking = 5 * time.Millisecond
)

// transfer moves amounts between two accounts in a MULTI; their sum stays 0.
type transfer struct {
	*client
	ids      sequence
	log      *series
	from, to string
}

func newTransfer(c *client) player {
	t := &transfer{client: c, ids: sequence{owner: c.name}, log: c.newSeries("list:" + c.name),
		from: "from:" + c.name, to: "to:" + c.name}
	c.reviews = append(c.reviews, t.balanced)
	return t
}

func (t *transfer) play() { t.every(transferPace, t.turn) }

func (t *transfer) turn() {
	id := t.ids.next()
	amount := strconv.Itoa(t.ids.n)
	began := t.clock()
	o := t.transact(func(r reply) bool { return r.kind == '*' && len(r.elems) == 3 }, [][]string{
		{"DECRBY", t.from, amount},
		{"INCRBY", t.to, amount},
		{"RPUSH", t.log.key, id},
	})
	t.log.record(id, began, t.clock(), o)
}

// balanced reviews the accounts: a transaction that was torn leaves a sum.
func (t *transfer) balanced(d *data) ([]string, error) {
	values, err := d.values("", []string{t.from, t.to})
	if err != nil {
		return nil, err
	}
	from, _ := strconv.Atoi(values[0])
	to, _ := strconv.Atoi(values[1])
	if from+to != 0 {
		return []string{fmt.Sprintf("%s: the accounts hold %d and %d", t.name, from, to)}, nil
	}
	return nil, nil
}

// transact runs commands in a MULTI. Until EXEC has been sent nothing may have
// been applied, so everything that goes wrong before counts as refused.
func (c *client) transact(done func(reply) bool, commands [][]string) outcome {
	if _, ok := c.ask(isOK, "MULTI"); !ok {
		return refused
	}
	for _, command := range commands {
		time.Sleep(thinking)
		r, ok := c.do(command...)
		switch {
		case !ok:
			return refused
		case r.failed():
			c.do("DISCARD")
			return refused
		case !isQueued(r):
			// It ran on its own: the server knows of no MULTI.
			c.lost["MULTI"]++
			c.hangUp()
			return unknown
		}
		c.right()
	}
	time.Sleep(thinking)
	r, ok := c.do("EXEC")
	if !ok {
		return unknown
	}
	if r.failed() && prefixed(r.text, "ERR") {
		c.lost["MULTI"]++ // ERR EXEC without MULTI
		c.hangUp()
		return refused
	}
	return c.settle(r, done, "EXEC")
}

// contest is the counter that several incrementers share, each with a log of the
// values that it set.
type contest struct {
	key     string
	players []*increment
}

// increment raises the counter by WATCH, GET, MULTI, SET, EXEC.
type increment struct {
	*client
	contest *contest
	log     *series
	tries   int
}

func newIncrement(c *client, in *contest) player {
	i := &increment{client: c, contest: in, log: c.newSeries("list:" + c.name)}
	in.players = append(in.players, i)
	if len(in.players) == 1 {
		c.reviews = append(c.reviews, in.consistent)
	}
	return i
}

func (i *increment) play() { i.every(incrementPace, i.turn) }

func (i *increment) turn() {
	if _, ok := i.ask(isOK, "WATCH", i.contest.key); !ok {
		return
	}
	r, ok := i.ask(isBulk, "GET", i.contest.key)
	if !ok || !r.null && r.number() < 0 {
		if ok {
			i.mistaken(r, "GET "+i.contest.key)
		}
		return
	}
	i.tries++
	value := strconv.FormatInt(max(r.number(), 0)+1, 10)
	id := value + "." + strconv.Itoa(i.tries) // a value may be tried again, an id may not
	began := i.clock()
	aborted := false
	o := i.transact(func(r reply) bool {
		aborted = r.null
		return r.null || len(r.elems) == 2
	}, [][]string{{"SET", i.contest.key, value}, {"RPUSH", i.log.key, id}})
	if aborted {
		o = refused
	}
	i.log.record(id, began, i.clock(), o)
}

// consistent reviews the logs: together they hold every value from 1 to the
// counter's exactly once, or an update was lost.
func (c *contest) consistent(d *data) ([]string, error) {
	values, err := d.values("", []string{c.key})
	if err != nil {
		return nil, err
	}
	count, _ := strconv.Atoi(values[0])
	var logged []int
	for _, p := range c.players {
		ids, err := d.list("", p.log.key)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			value, _, _ := strings.Cut(id, ".")
			n, _ := strconv.Atoi(value)
			logged = append(logged, n)
		}
	}
	return conflicts(c.key, count, logged), nil
}

// conflicts compares a counter with the values that were logged.
func conflicts(key string, count int, logged []int) (broken []string) {
	slices.Sort(logged)
	for i, n := range logged {
		if i > 0 && logged[i-1] == n {
			broken = append(broken, fmt.Sprintf("%s: %d was set twice: a lost update", key, n))
		}
	}
	logged = slices.Compact(logged)
	if len(logged) != count || count > 0 && (logged[0] != 1 || logged[count-1] != count) {
		broken = append(broken, fmt.Sprintf("%s is %d and %d different values were logged", key, count, len(logged)))
	}
	return broken
}
