package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"holdfast/internal/redistest"
)

const (
	writers   = 4
	pace      = 2 * time.Millisecond
	idleName  = "patient"
	channel   = "news"
	publishes = 10 // one message for so many writes
	// patience is longer than holdfast lets a command wait (hold.max_wait), so
	// that what the client sees is holdfast's answer and not its own impatience.
	patience = 40 * time.Second
)

// crew is all clients: ordinary ones of an ordinary library, one connection each,
// that know a single Redis address and never try a command again by themselves.
type crew struct {
	writers  []*writer
	news     *member
	messages atomic.Int64
	idle     *member
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// member is one client that counts its connections.
type member struct {
	*redis.Client
	dials atomic.Int64
}

func newMember(address string) *member {
	m := &member{}
	m.Client = redis.NewClient(&redis.Options{
		Addr: address, PoolSize: 1, MaxRetries: -1, ReadTimeout: patience, WriteTimeout: patience,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			m.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	return m
}

// cut is how often the client had to connect again.
func (m *member) cut() int { return max(int(m.dials.Load())-1, 0) }

// startCrew returns when everybody is at work.
func startCrew(ctx context.Context, address string) (*crew, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &crew{news: newMember(address), idle: newMember(address), cancel: cancel}
	if err := c.idle.Do(ctx, "CLIENT", "SETNAME", idleName).Err(); err != nil {
		c.stop()
		return nil, fmt.Errorf("the idle client: %w", err)
	}
	news := c.news.Subscribe(ctx, channel)
	if _, err := news.Receive(ctx); err != nil {
		c.stop()
		return nil, fmt.Errorf("the subscriber: %w", err)
	}
	c.running.Go(func() { c.listen(ctx, news) })
	for i := range writers {
		w := &writer{member: newMember(address), key: "demo:" + strconv.Itoa(i)}
		c.writers = append(c.writers, w)
		c.running.Go(func() { w.run(ctx) })
	}
	return c, c.awaitProgress(ctx)
}

// stop ends all clients and waits for them. It may be called twice.
func (c *crew) stop() {
	c.cancel()
	_ = c.news.Close() // a subscriber waits for its next message, not for ctx
	_ = c.idle.Close()
	for _, w := range c.writers {
		_ = w.Close()
	}
	c.running.Wait()
}

// listen is the subscriber's goroutine. It ends with ctx.
func (c *crew) listen(ctx context.Context, news *redis.PubSub) {
	defer news.Close()
	incoming := news.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-incoming:
			if m != nil {
				c.messages.Add(1)
			}
		}
	}
}

// callIdle has the idle client speak for the first time in all these failovers,
// on the connection that it named at the beginning.
func (c *crew) callIdle(ctx context.Context) error {
	name, err := c.idle.ClientGetName(ctx).Result()
	switch {
	case err != nil:
		return fmt.Errorf("the idle client: %w", err)
	case name != idleName:
		return fmt.Errorf("the idle client was called %q and is now called %q", idleName, name)
	}
	return nil
}

// writer appends numbers to a list of its own, one at a time.
type writer struct {
	*member
	key string

	mu       sync.Mutex // guards what follows
	acked    []int
	answered int
	errors   int
	last     string    // error
	heard    time.Time // when the last answer came
	gap      time.Duration
}

// run is the writer's goroutine. It ends with ctx.
func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.note(ctx, n, w.RPush(ctx, w.key, n).Err())
		if n%publishes == 0 {
			w.note(ctx, -1, w.Publish(ctx, channel, n).Err())
		}
	}
}

// note takes down one answer; n is the number written, or -1.
func (w *writer) note(ctx context.Context, n int, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if err != nil {
		w.errors++
		w.last = err.Error()
		return
	}
	w.answered++
	if n >= 0 {
		w.acked = append(w.acked, n)
	}
	if !w.heard.IsZero() {
		w.gap = max(w.gap, now.Sub(w.heard))
	}
	w.heard = now
}

// tally is what the crew has seen so far.
type tally struct {
	answered, errors int
	gap              time.Duration // the longest between two answers to one writer
	connections, cut int
	messages         int64
}

func (c *crew) tally() tally {
	t := tally{
		connections: len(c.writers) + 2, cut: c.news.cut() + c.idle.cut(),
		messages: c.messages.Load(),
	}
	for _, w := range c.writers {
		w.mu.Lock()
		t.answered += w.answered
		t.errors += w.errors
		t.gap = max(t.gap, w.gap)
		w.mu.Unlock()
		t.cut += w.cut()
	}
	return t
}

// resetGap forgets the longest gap.
func (c *crew) resetGap() {
	for _, w := range c.writers {
		w.mu.Lock()
		w.gap = 0
		w.mu.Unlock()
	}
}

// lastError is the last error that one of the writers was given.
func (c *crew) lastError() (last string) {
	for _, w := range c.writers {
		w.mu.Lock()
		last = cmp.Or(last, w.last)
		w.mu.Unlock()
	}
	return last
}

// awaitProgress waits until every writer has had another answer.
func (c *crew) awaitProgress(ctx context.Context) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	since := time.Now()
	for _, w := range c.writers {
		for !w.heardSince(since) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("writer %s gets no answers: %w", w.key, ctx.Err())
			}
		}
	}
	return nil
}

func (w *writer) heardSince(t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard.After(t)
}

// findings are what became of the acknowledged writes.
type findings struct{ acknowledged, missing, twice int }

// verify looks for every write that has been acknowledged so far, on the node
// itself and not through holdfast.
func (c *crew) verify(ctx context.Context, node *redistest.Node) (f findings, err error) {
	for _, w := range c.writers {
		w.mu.Lock()
		acked := w.acked[:len(w.acked):len(w.acked)]
		w.mu.Unlock()
		reply, err := node.Do(ctx, "LRANGE", w.key, 0, -1)
		if err != nil {
			return f, err
		}
		list, _ := reply.([]any)
		times := make(map[string]int, len(list))
		for _, e := range list {
			times[fmt.Sprint(e)]++
		}
		for _, n := range times {
			if n > 1 {
				f.twice++
			}
		}
		for _, n := range acked {
			if times[strconv.Itoa(n)] == 0 {
				f.missing++
			}
		}
		f.acknowledged += len(acked)
	}
	return f, nil
}
