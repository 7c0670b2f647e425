package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/redistest"
)

// users are the ACL users that clients log in as; each has keys of its own. ACLs
// are not replicated, so every node must be told.
const users = 4

func userName(i int) string { return fmt.Sprint("user", i) }
func password(i int) string { return fmt.Sprint("password-of-", i) }

func introduceUsers(ctx context.Context, c *redistest.Cluster) error {
	for _, n := range c.Nodes {
		for i := 1; i <= users; i++ {
			if _, err := n.Do(ctx, "ACL", "SETUSER", userName(i), "on", ">"+password(i), fmt.Sprintf("~u%d:*", i), "&*", "+@all"); err != nil {
				return err
			}
		}
	}
	return nil
}

// afterwards is how long after a fault a client may still learn of it.
const afterwards = 3 * time.Second

// fail makes faults until ctx ends: planned failovers by the Sentinels; in between
// the master drops all connections, stands still for a moment so that the sockets
// to it fill, or lets writes wait, which is no fault at all and excuses nothing.
func (r *run) fail(ctx context.Context, c *redistest.Cluster, rep *Report) {
	for n := 0; wait(ctx, r.Fault) == nil; n++ {
		var err error
		switch n % 5 {
		case 1:
			rep.Kills++
			err = r.turbulent(ctx, c, r.kill)
		case 2:
			rep.Stalls++
			err = r.pause(ctx, c)
		case 4:
			rep.Stalls++
			err = r.turbulent(ctx, c, r.freeze)
		default:
			rep.Failovers++
			err = r.turbulent(ctx, c, r.failover)
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(r.Out, "a fault could not be made: %v\n", err)
		}
	}
}

// turbulent makes a fault of which clients may learn.
func (r *run) turbulent(ctx context.Context, c *redistest.Cluster, fault func(context.Context, *redistest.Cluster) error) error {
	r.faults.Add(1)
	defer r.faults.Add(1)
	err := fault(ctx, c)
	return errors.Join(err, wait(ctx, afterwards))
}

// stall is how long a master stands still: long enough for others to be led past
// it, and short enough for Sentinels to notice nothing.
const stall = 200 * time.Millisecond

func (r *run) pause(ctx context.Context, c *redistest.Cluster) error {
	master, err := c.Master(ctx)
	if err != nil {
		return err
	}
	_, err = master.Do(ctx, "CLIENT", "PAUSE", stall.Milliseconds(), "WRITE")
	return err
}

func (r *run) freeze(ctx context.Context, c *redistest.Cluster) error {
	master, err := c.Master(ctx)
	if err != nil {
		return err
	}
	if err := master.Freeze(); err != nil {
		return err
	}
	err = wait(ctx, stall)
	return errors.Join(err, master.Thaw())
}

func (r *run) kill(ctx context.Context, c *redistest.Cluster) error {
	master, err := c.Master(ctx)
	if err != nil {
		return err
	}
	_, err = master.Do(ctx, "CLIENT", "KILL", "TYPE", "normal")
	return err
}

// failover has another master and waits until the cluster is whole again, because
// a busy one would lose what is written to it next.
func (r *run) failover(ctx context.Context, c *redistest.Cluster) error {
	old, err := c.Master(ctx)
	if err != nil {
		return err
	}
	if err := c.Failover(ctx); err != nil {
		return err
	}
	if _, err := c.AwaitMaster(ctx, func(n *redistest.Node) bool { return n != old }); err != nil {
		return err
	}
	return c.AwaitReady(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// calm is how things stand at the beginning of something; quiet says whether no
// fault has been about since.
type calm int64

func (r *run) look() calm          { return calm(r.faults.Load()) }
func (r *run) quiet(was calm) bool { return was%2 == 0 && calm(r.faults.Load()) == was }
