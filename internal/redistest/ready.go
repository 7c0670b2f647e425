package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// AwaitReady waits until the cluster is whole: every process answers, the
// Sentinels agree on the master, the other nodes are its replicas and in sync,
// and every Sentinel reaches all of them and all other Sentinels. After a
// failover that takes about 11 s, for so long does Sentinel leave the old master
// alone; a Sentinel's own picture of that node's role and link (SENTINEL REPLICAS)
// lags up to 10 s behind, until its next INFO, and is not waited for.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		master, err := c.Master(ctx)
		if err != nil {
			return err
		}
		if err := c.inSync(ctx, master); err != nil {
			return err
		}
		return each(c.Sentinels, func(s *Node) error { return c.knowsAll(ctx, s, master) })
	})
}

// inSync says whether master is one and all other nodes replicate it.
func (c *Cluster) inSync(ctx context.Context, master *Node) error {
	return each(c.Nodes, func(n *Node) error {
		info, err := n.Info(ctx, "replication")
		if err != nil {
			return err
		}
		if n == master {
			if info["role"] != "master" || info["connected_slaves"] != fmt.Sprint(len(c.Nodes)-1) {
				return fmt.Errorf("%s says role:%s with %s replicas", n.Name, info["role"], info["connected_slaves"])
			}
			return online(info)
		}
		if info["role"] != "slave" || info["master_link_status"] != "up" ||
			info["master_host"] != master.Host.Addr() || info["master_port"] != port(master.Addr) {
			return fmt.Errorf("%s says role:%s of %s:%s, link %s", n.Name, info["role"],
				info["master_host"], info["master_port"], info["master_link_status"])
		}
		return nil
	})
}

// online says whether the master feeds all its replicas. A replica whose link is
// up may still wait for the stream, for up to a second, and would have none of
// what was written meanwhile if it were promoted.
func online(info map[string]string) error {
	for key, replica := range info {
		if strings.HasPrefix(key, "slave") && strings.Contains(replica, "state=") && !strings.Contains(replica, "state=online") {
			return fmt.Errorf("%s is %s", key, replica)
		}
	}
	return nil
}

// knowsAll says whether Sentinel s reaches the whole cluster. A node whose run id
// it knows has answered its INFO: only such a replica can be promoted.
func (c *Cluster) knowsAll(ctx context.Context, s, master *Node) error {
	reply, err := s.Do(ctx, "SENTINEL", "MASTER", c.opts.MasterName)
	if err != nil {
		return err
	}
	m := fields(reply)
	if addr := net.JoinHostPort(m["ip"], m["port"]); m["flags"] != "master" || m["runid"] == "" || addr != master.Addr {
		return fmt.Errorf("%s sees the master %s as %s (run id %q)", s.Name, addr, m["flags"], m["runid"])
	}
	return errors.Join(
		c.lists(ctx, s, "REPLICAS", len(c.Nodes)-1, "slave"),
		c.lists(ctx, s, "SENTINELS", len(c.Sentinels)-1, "sentinel"))
}

// lists says whether SENTINEL REPLICAS or SENTINELS has n entries, all reached and
// with no flag but their kind.
func (c *Cluster) lists(ctx context.Context, s *Node, what string, n int, kind string) error {
	reply, err := s.Do(ctx, "SENTINEL", what, c.opts.MasterName)
	if err != nil {
		return err
	}
	list, _ := reply.([]any)
	if len(list) != n {
		return fmt.Errorf("%s knows %d %s instead of %d", s.Name, len(list), what, n)
	}
	for _, e := range list {
		if m := fields(e); m["flags"] != kind || m["runid"] == "" {
			return fmt.Errorf("%s sees %s as %s (run id %q)", s.Name, m["name"], m["flags"], m["runid"])
		}
	}
	return nil
}
