package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Master returns the data node that a majority of all Sentinels, dead ones
// counted, calls the master; without Sentinels the only one that itself says so.
func (c *Cluster) Master(ctx context.Context) (*Node, error) {
	if len(c.Sentinels) == 0 {
		return c.selfMade(ctx)
	}
	var mu sync.Mutex
	votes := make(map[string]int)
	err := each(c.Sentinels, func(s *Node) error {
		addr, err := s.masterAddr(ctx, c.opts.MasterName)
		if err == nil {
			mu.Lock()
			votes[addr]++
			mu.Unlock()
		}
		return err
	})
	for addr, n := range votes {
		if n > len(c.Sentinels)/2 {
			if node := c.NodeAt(addr); node != nil {
				return node, nil
			}
			return nil, fmt.Errorf("the Sentinels' master %s is none of ours", addr)
		}
	}
	return nil, errors.Join(fmt.Errorf("no majority of Sentinels for a master: %v", votes), err)
}

// masterAddr asks one Sentinel.
func (n *Node) masterAddr(ctx context.Context, name string) (string, error) {
	reply, err := n.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
	if err != nil {
		return "", err
	}
	pair, ok := reply.([]any)
	if !ok || len(pair) != 2 {
		return "", fmt.Errorf("%s does not know %s", n.Name, name)
	}
	return net.JoinHostPort(fmt.Sprint(pair[0]), fmt.Sprint(pair[1])), nil
}

func (c *Cluster) selfMade(ctx context.Context) (*Node, error) {
	var masters []*Node
	var errs []error
	for _, n := range c.Nodes {
		role, err := n.Role(ctx)
		errs = append(errs, err)
		if role == "master" {
			masters = append(masters, n)
		}
	}
	if len(masters) != 1 {
		return nil, errors.Join(fmt.Errorf("the nodes that say they are master: %v", masters), errors.Join(errs...))
	}
	return masters[0], nil
}

// AwaitMaster waits until a majority of the Sentinels agrees on a master that
// itself says role:master and that accept (nil: anyone) accepts.
func (c *Cluster) AwaitMaster(ctx context.Context, accept func(*Node) bool) (master *Node, err error) {
	err = poll(ctx, func() error {
		if master, err = c.Master(ctx); err != nil {
			return err
		}
		if accept != nil && !accept(master) {
			return fmt.Errorf("the master is %s, not the one awaited", master)
		}
		role, err := master.Role(ctx)
		if err == nil && role != "master" {
			err = fmt.Errorf("%s still says role:%s", master, role)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return master, nil
}

// Failover asks the first Sentinel that is alive for a planned failover, and
// again for as long as it is busy with another one or sees no good replica. It
// returns when the failover has been accepted: AwaitMaster sees it happen.
func (c *Cluster) Failover(ctx context.Context) error {
	return poll(ctx, func() error {
		var errs []error
		for _, s := range c.Sentinels {
			_, err := s.Do(ctx, "SENTINEL", "FAILOVER", c.opts.MasterName)
			if err == nil {
				return nil
			}
			errs = append(errs, err)
			if busy(err) {
				break // another Sentinel would begin a second failover beside it
			}
		}
		return fmt.Errorf("failover of %s: %w", c.opts.MasterName, errors.Join(errs...))
	})
}

// busy says whether the Sentinel will do a failover, but not now.
func busy(err error) bool {
	return strings.HasPrefix(err.Error(), "INPROG") || strings.HasPrefix(err.Error(), "NOGOODSLAVE")
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
