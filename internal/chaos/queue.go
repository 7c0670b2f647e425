package chaos

import "time"

const (
	feederPace  = 100 * time.Millisecond
	popTimeout  = "1" // seconds
	popPatience = time.Second
)

// feeder pushes into a queue that a waiter pops from. It is slow, so that the
// waiter nearly always waits.
type feeder struct {
	*client
	ids   sequence
	queue *series
}

func newFeeder(c *client, key string) player {
	f := &feeder{client: c, ids: sequence{owner: c.name}, queue: c.newSeries(key)}
	f.queue.queue = true
	return f
}

func (f *feeder) play() { f.every(feederPace, f.turn) }

func (f *feeder) turn() {
	id := f.ids.next()
	f.write(f.queue, id, isInteger, "RPUSH", f.queue.key, id)
}

// waiter waits in BLPOP.
type waiter struct {
	*client
	key string
}

func newWaiter(c *client, key string) player { return &waiter{client: c, key: key} }

func (w *waiter) source() bool { return false }

func (w *waiter) play() {
	for {
		select {
		case <-w.drain:
			return
		default:
		}
		if w.ready() {
			w.pop()
		}
	}
}

func (w *waiter) pop() {
	began := w.clock()
	w.conn.queue("BLPOP", w.key, popTimeout)
	if err := w.conn.flush(w.patience); err != nil {
		w.broken(err)
		return
	}
	r, err := w.conn.receive(w.patience + popPatience)
	if err != nil {
		w.broken(err)
		return
	}
	if r.failed() {
		w.fault(r.text)
	}
	popped := func(r reply) bool { return r.null || r.is(w.key) && len(r.elems) == 2 }
	if w.settle(r, popped, "BLPOP") == acked && !r.null {
		w.takes = append(w.takes, take{w.key, r.elems[1].text, began, w.clock()})
	}
}
