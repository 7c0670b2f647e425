package chaos

import (
	"context"
	"fmt"
	"net"
	"time"

	"holdfast/internal/redistest"
)

// scene is where a fault happens: the cluster, and the record of what was done to
// it. It belongs to the goroutine of the run.
type scene struct {
	*redistest.Cluster
	front  *Front
	clock  func() time.Duration
	events []Event
	healed time.Duration // when the new master could be reached again; 0: it always could
}

// mark records that something has just been done.
func (s *scene) mark(format string, args ...any) {
	s.events = append(s.events, Event{s.clock(), fmt.Sprintf(format, args...)})
}

// asking bounds one question to all Sentinels: a frozen one never answers.
const asking = 500 * time.Millisecond

// master returns the node that a majority of the Sentinels names and that itself
// says that it is a master.
func (s *scene) master(ctx context.Context) (*redistest.Node, error) {
	asked, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	master, err := s.Master(asked)
	if err != nil {
		return nil, err
	}
	asked, cancel = context.WithTimeout(ctx, asking)
	defer cancel()
	role, err := master.Role(asked)
	if err == nil && role != "master" {
		err = fmt.Errorf("%s is named, but says role:%s", master.Name, role)
	}
	return master, err
}

// other waits until the master is somebody else than old.
func (s *scene) other(ctx context.Context, old *redistest.Node) (master *redistest.Node, err error) {
	err = retry(ctx, func() error {
		if master, err = s.master(ctx); err == nil && master == old {
			err = fmt.Errorf("%s still is the master", old.Name)
		}
		return err
	})
	if err == nil {
		s.mark("the Sentinels agree on %s", master.Name)
	}
	return master, err
}

// rest returns the nodes of all but one.
func rest(nodes []*redistest.Node, but *redistest.Node) (others []*redistest.Node) {
	for _, n := range nodes {
		if n != but {
			others = append(others, n)
		}
	}
	return others
}

// settle waits until a majority of the Sentinels names a master that says so
// itself, and all other nodes that are alive are its replicas and in sync.
func (s *scene) settle(ctx context.Context) (master *redistest.Node, err error) {
	err = retry(ctx, func() error {
		if master, err = s.master(ctx); err != nil {
			return err
		}
		for _, n := range rest(s.Nodes, master) {
			if n.Alive() {
				if err := follows(ctx, n, master); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return master, err
}

// successor waits until the master has a replica in sync that its failover would
// choose. An old master that still claims its role is a candidate too, but one
// with nothing replicated, which Sentinel takes only if there is no better.
func (s *scene) successor(ctx context.Context, master *redistest.Node) error {
	return retry(ctx, func() (err error) {
		for _, n := range rest(s.Nodes, master) {
			if err = follows(ctx, n, master); err == nil {
				return nil
			}
		}
		return err
	})
}

// follows returns nil if n is a replica of master and in sync.
func follows(ctx context.Context, n, master *redistest.Node) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	info, err := n.Info(ctx, "replication")
	if err != nil {
		return err
	}
	of := net.JoinHostPort(info["master_host"], info["master_port"])
	if info["role"] != "slave" || info["master_link_status"] != "up" || of != master.Addr {
		return fmt.Errorf("%s says role:%s of %s, link %s", n.Name, info["role"], of, info["master_link_status"])
	}
	return nil
}

// retry repeats check until it succeeds; when ctx ends it returns check's error.
func retry(ctx context.Context, check func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, and waiting ended: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
