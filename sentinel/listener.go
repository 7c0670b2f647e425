package sentinel

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// pingEvery is how often a subscription is asked whether it is still there. With
// no answer within the timeout after that it is given up: a half-open connection
// looks like a quiet one.
const pingEvery = time.Second

// listened is what the subscription has come to.
type listened struct {
	subscribed bool
	last       time.Time // event
	events     uint64
	failures   uint64
	err        string
}

// listen subscribes until ctx ends, over one connection after the other.
func (w *watcher) listen(ctx context.Context) {
	var pace backoff
	var complaints seldom
	for ctx.Err() == nil {
		err := w.subscribe(ctx, &pace, &complaints)
		if ctx.Err() != nil {
			return
		}
		last := *w.heard.Load()
		last.subscribed, last.err = false, explain(err)
		last.failures++
		w.heard.Store(&last)
		if w.asked.Load().connected { // else the poller says what is wrong
			w.complain(&complaints, "events", fmt.Errorf("its events do not arrive: %s", last.err))
		}
		pause(ctx, pace.next(), nil)
	}
}

// subscribe takes events over one connection until it breaks. go-redis panics on
// a message that is none.
func (w *watcher) subscribe(ctx context.Context, pace *backoff, complaints *seldom) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed message: %v", p)
		}
	}()
	var pinger sync.WaitGroup
	defer pinger.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conf := w.group.conf
	timeout := time.Duration(conf.Timeout)
	link, err := connect(ctx, w.group.outside, w.addr, conf.Login, timeout)
	if err != nil {
		return err
	}
	defer link.Close()
	id := "" // asked for before the connection becomes a subscription, which can ask nothing
	link.onConnect = func(ctx context.Context, conn *redis.Conn) (err error) {
		id, err = w.identify(ctx, conn)
		return err
	}
	events := link.PSubscribe(ctx)
	defer events.Close()
	if err := events.PSubscribe(ctx, "*"); err != nil {
		return err
	}
	pinger.Go(func() { ping(ctx, events) })
	for {
		message, err := events.ReceiveTimeout(ctx, pingEvery+timeout)
		if err != nil {
			return err
		}
		switch message := message.(type) {
		case *redis.Subscription:
			pace.reset()
			complaints.over("events")
			w.deliver(ctx, id, subscribed, "")
		case *redis.Message:
			w.deliver(ctx, id, message.Channel, message.Payload)
		}
	}
}

// ping pings until the subscription ends. The answers are messages.
func ping(ctx context.Context, events *redis.PubSub) {
	for pause(ctx, pingEvery, nil) {
		if events.Ping(ctx) != nil {
			return // the reader finds out too
		}
	}
}

// deliver passes an event on to the masters that it concerns.
func (w *watcher) deliver(ctx context.Context, id, channel, payload string) {
	e := parse(channel, payload, w.group.book.known)
	e.via, e.id, e.heard = w.addr, id, time.Now()
	last := *w.heard.Load()
	last.subscribed, last.err = true, ""
	if channel != subscribed {
		last.last, last.events = e.heard, last.events+1
	}
	w.heard.Store(&last)
	if e.name != "" {
		if t := w.group.trackers[e.name]; t != nil {
			t.hear(ctx, e)
		}
		return
	}
	for _, t := range w.group.trackers {
		t.hear(ctx, e)
	}
}
