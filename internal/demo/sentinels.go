package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"holdfast/internal/redistest"
)

// told are the events that tell the story. The others are a Sentinel's own
// business.
var told = map[string]string{
	"+sdown":          "a Sentinel holds the master for down",
	"+odown":          "a quorum does",
	"+try-failover":   "a failover begins",
	"+elected-leader": "this Sentinel leads it",
	"+selected-slave": "the replica to promote is chosen",
	"+promoted-slave": "it says that it is master",
	"+switch-master":  "the new configuration is in force here",
}

// watcher prints events of the Sentinels as they come.
type watcher struct {
	cluster *redistest.Cluster
	began   time.Time
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex // guards what follows
	out  io.Writer
	seen map[string]bool
}

// watch follows all Sentinels until stop. It returns when all subscriptions
// stand, so that nothing is missed; its clock starts then.
func watch(ctx context.Context, c *redistest.Cluster, out io.Writer) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cluster: c, cancel: cancel, out: out, seen: make(map[string]bool)}
	clients := make([]*redis.SentinelClient, len(c.Sentinels))
	events := make([]*redis.PubSub, len(c.Sentinels))
	for i, s := range c.Sentinels {
		clients[i] = redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
		events[i] = clients[i].PSubscribe(ctx, "*")
		_, _ = events[i].Receive(ctx) // a Sentinel that does not answer tells nothing; the others do
	}
	w.began = time.Now()
	for i, s := range c.Sentinels {
		w.running.Go(func() { w.follow(ctx, s.Name, clients[i], events[i]) })
	}
	return w
}

// follow is the goroutine of one subscription. It ends with ctx.
func (w *watcher) follow(ctx context.Context, name string, client *redis.SentinelClient, events *redis.PubSub) {
	defer client.Close()
	defer events.Close()
	incoming := events.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-incoming:
			if e != nil {
				w.tell(name, e.Channel, e.Payload)
			}
		}
	}
}

// tell prints an event. Only the first of a kind is news, but every Sentinel's
// switch is.
func (w *watcher) tell(sentinel, kind, payload string) {
	words := strings.Fields(payload)
	if kind == "+sdown" && words[0] != "master" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if told[kind] == "" || w.seen[kind] && kind != "+switch-master" {
		return
	}
	w.seen[kind] = true
	fmt.Fprintf(w.out, "   %6d ms  %-10s  %-15s  %s%s\n",
		time.Since(w.began).Milliseconds(), sentinel, kind, told[kind], w.whom(kind, words))
}

// whom names the node that an event is about.
func (w *watcher) whom(kind string, words []string) string {
	at := -1
	switch kind { // slave <name> <host> <port> ..., or <master> <old host> <old port> <new host> <new port>
	case "+selected-slave", "+promoted-slave":
		at = 2
	case "+switch-master":
		at = 3
	}
	if at < 0 || len(words) < at+2 {
		return ""
	}
	if n := w.cluster.NodeAt(words[at] + ":" + words[at+1]); n != nil {
		return ": " + n.Name
	}
	return ""
}

// stop ends all subscriptions. It may be called twice.
func (w *watcher) stop() {
	w.cancel()
	w.running.Wait()
}
