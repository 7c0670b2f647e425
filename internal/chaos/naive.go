package chaos

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"holdfast/internal/redistest"
)

// Naive is a TCP proxy as there are many: it asks the first Sentinel for the
// master, connects clients to it, and cuts them when the answer changes.
func Naive(ctx context.Context, c *redistest.Cluster, _ io.Writer) (*Front, error) {
	addr, _, err := two(c)
	if err != nil {
		return nil, err
	}
	l, err := c.Endpoint().Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &naive{cluster: c, open: make(map[net.Conn]bool)}
	n.wg.Go(func() { n.follow(ctx) })
	n.wg.Go(func() { n.accept(ctx, l) })
	return &Front{Addr: addr, Stop: func() {
		cancel()
		l.Close()
		n.wg.Wait()
	}}, nil
}

// naive owns its listener's connections, until stop.
type naive struct {
	cluster *redistest.Cluster
	wg      sync.WaitGroup

	mu     sync.Mutex
	master string            // where new clients go; "": not known
	open   map[net.Conn]bool // both ends of all connections
}

// follow asks the first Sentinel, until ctx ends.
func (n *naive) follow(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := n.cluster.Sentinels[0].Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", n.cluster.Name()); err == nil {
			if pair, ok := r.([]any); ok && len(pair) == 2 {
				n.cut(net.JoinHostPort(pair[0].(string), pair[1].(string)))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// cut closes all connections if this is another master.
func (n *naive) cut(master string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.master == master {
		return
	}
	n.master = master
	for c := range n.open {
		c.Close()
	}
}

// accept serves clients until the listener is closed.
func (n *naive) accept(ctx context.Context, l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() { n.serve(ctx, client) })
	}
}

// serve relays for one client until either end is closed, or ctx ends.
func (n *naive) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	n.mu.Lock()
	master := n.master
	n.mu.Unlock()
	server, err := n.cluster.Endpoint().DialContext(ctx, "tcp", master)
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	if !n.keep(master, client, server) {
		return
	}
	defer n.forget(client, server)
	n.wg.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
		client.Close()
	})
	_, _ = io.Copy(client, server)
}

// keep remembers a pair of connections, unless the master has changed meanwhile.
func (n *naive) keep(master string, pair ...net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if master != n.master {
		return false
	}
	for _, c := range pair {
		n.open[c] = true
	}
	return true
}

func (n *naive) forget(pair ...net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range pair {
		delete(n.open, c)
	}
}
