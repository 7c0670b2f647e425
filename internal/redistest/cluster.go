package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// startAttempts is how often Start begins anew when another process took a port
// between its choice and its use.
const startAttempts = 5

// Cluster is a master with its replicas and Sentinels. Nodes and Sentinels never
// change; who is master does.
type Cluster struct {
	Nodes     []*Node // the data nodes; Nodes[0] is the first master
	Sentinels []*Node

	opts    Options
	dir     *dir
	network *network // nil without Options.Namespaces
	stop    sync.Once
}

// Start runs a cluster. It returns when the replicas are in sync and every
// Sentinel knows all of them and all other Sentinels. A master that dies in the
// first second after that is noticed up to a second late, for a Sentinel tries a
// connection that is so young only once. Without a deadline in ctx Start takes
// 60 s at most. The caller must Stop the cluster.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, awaitTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		c := &Cluster{opts: o}
		err = c.start(ctx)
		if err == nil {
			return c, nil
		}
		logs := c.Logs(10)
		c.Stop()
		if !errors.Is(err, errPortTaken) || attempt == startAttempts || ctx.Err() != nil {
			return nil, fmt.Errorf("start cluster: %w\n%s", err, logs)
		}
	}
}

func (c *Cluster) start(ctx context.Context) (err error) {
	if c.dir, err = newDir(); err != nil {
		return err
	}
	data, sentinels := names("redis", 1+c.opts.Replicas), names("sentinel", c.opts.Sentinels)
	if c.opts.Namespaces {
		if c.network, err = newNetwork(slices.Concat(data, sentinels, []string{"endpoint"})); err != nil {
			return err
		}
	}
	for _, name := range data {
		n, err := c.newNode(name, 6379)
		if err != nil {
			return err
		}
		n.password = c.opts.Password
		n.command = slices.Concat([]string{c.opts.Server, n.conf()}, c.opts.Args)
		c.Nodes = append(c.Nodes, n)
	}
	for _, name := range sentinels {
		n, err := c.newNode(name, 26379)
		if err != nil {
			return err
		}
		n.password = c.opts.SentinelPassword
		n.command = []string{c.opts.Server, n.conf(), "--sentinel"}
		n.id = newID()
		n.fresh = func(id, master string) string { return c.opts.sentinelConf(n, id, master, nil) }
		c.Sentinels = append(c.Sentinels, n)
	}
	return c.boot(ctx)
}

// names are kind-0, kind-1 and so on.
func names(kind string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	return list
}

// newNode gives a node its name, host, address and directory.
func (c *Cluster) newNode(name string, port int) (*Node, error) {
	n := &Node{Name: name, dir: filepath.Join(c.dir.path, name)}
	if c.network != nil {
		n.Host = c.network.hosts[len(c.Nodes)+len(c.Sentinels)]
	} else {
		var err error
		if port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	n.Addr = net.JoinHostPort(n.Host.Addr(), strconv.Itoa(port))
	return n, os.Mkdir(n.dir, 0o700)
}

// boot writes the configurations and starts everything in the order that is
// fastest: a replica whose master is up syncs at once (else it tries again after
// a second), and a Sentinel that meets replicas in sync needs no second INFO.
func (c *Cluster) boot(ctx context.Context) error {
	master, replicas := c.Nodes[0], c.Nodes[1:]
	for _, n := range c.Nodes {
		of := master.Addr
		if n == master {
			of = ""
		}
		if err := os.WriteFile(n.conf(), []byte(c.opts.dataConf(n, of)), 0o600); err != nil {
			return err
		}
	}
	for _, s := range c.Sentinels {
		conf := c.opts.sentinelConf(s, s.id, master.Addr, replicas)
		if err := os.WriteFile(s.conf(), []byte(conf), 0o600); err != nil {
			return err
		}
	}
	if err := master.start(ctx); err != nil {
		return err
	}
	if err := each(replicas, func(n *Node) error { return n.start(ctx) }); err != nil {
		return err
	}
	if err := poll(ctx, func() error { return c.inSync(ctx, master) }); err != nil {
		return err
	}
	if err := each(c.Sentinels, func(n *Node) error { return n.start(ctx) }); err != nil {
		return err
	}
	if err := each(c.Sentinels, func(n *Node) error { return c.introduce(ctx, n) }); err != nil {
		return err
	}
	return c.AwaitReady(ctx)
}

// introduce tells Sentinel s of all the others. A PUBLISH to a Sentinel is taken
// as a hello, so they need not wait for the real ones, which come every 2 s; and
// since all are up by now, none finds another one down at first, as happens with
// known-sentinel lines (the next try comes after a second).
func (c *Cluster) introduce(ctx context.Context, s *Node) error {
	for _, o := range c.Sentinels {
		if o == s {
			continue
		}
		hello := strings.Join([]string{o.Host.Addr(), port(o.Addr), o.id, "0",
			c.opts.MasterName, c.Nodes[0].Host.Addr(), port(c.Nodes[0].Addr), "0"}, ",")
		if _, err := s.Do(ctx, "PUBLISH", "__sentinel__:hello", hello); err != nil {
			return err
		}
	}
	return nil
}

// each runs f on all nodes at once and returns all errors.
func each(nodes []*Node, f func(*Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) all() []*Node { return slices.Concat(c.Nodes, c.Sentinels) }

// Stop ends every process at once and removes everything. It may be called twice.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		_ = each(c.all(), func(n *Node) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.proc != nil {
				n.proc.Kill()
			}
			return nil
		})
		c.network.close()
		if c.dir != nil {
			_ = c.dir.remove() // a later run sweeps what is left
		}
	})
}

// Logs returns the last lines of each process' log, for a diagnosis.
func (c *Cluster) Logs(lines int) string {
	var b strings.Builder
	for _, n := range c.all() {
		fmt.Fprintf(&b, "--- log of %s\n%s\n", n, tail(n.Log(), lines))
	}
	return b.String()
}

// Name is the master's name at the Sentinels.
func (c *Cluster) Name() string { return c.opts.MasterName }

// NodeAt returns the data node or Sentinel with this address, or nil.
func (c *Cluster) NodeAt(addr string) *Node {
	for _, n := range c.all() {
		if n.Addr == addr {
			return n
		}
	}
	return nil
}

// SentinelAddrs lists the addresses of the Sentinels.
func (c *Cluster) SentinelAddrs() []string {
	addrs := make([]string, len(c.Sentinels))
	for i, s := range c.Sentinels {
		addrs[i] = s.Addr
	}
	return addrs
}
