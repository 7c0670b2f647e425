package chaos

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/redistest"
)

// Fault is one thing that goes wrong.
type Fault struct {
	Name  string // f1, f2, ...
	Title string
	// Strict: no node fails, so nothing that was acknowledged may be missing and no
	// error is excused. Otherwise what the dying master had acknowledged and not yet
	// replicated is excused, and a write that it left unanswered is UNCERTAIN.
	Strict bool
	// Gamble: the failover is undone after the promotion, so that who writes to a
	// promoted node before the Sentinels agree on it (release: promoted) may lose.
	Gamble bool
	// Apart: the endpoint is on the wrong side of a partition. What it wrote there is
	// lost with its master, and nobody can know of the partition at once: writes sent
	// before it fenced itself off are excused, and not one that was sent later.
	Apart bool
	// Namespaces: needs a network that can be cut, and so root.
	Namespaces bool
	// Own: the endpoint itself is told to fail over, which only a holdfast can do.
	Own bool
	// The kept gap to reach with each release, as far as there is one. The time in
	// which the new master cannot be reached comes on top.
	Promoted, Confirmed time.Duration

	inject func(context.Context, *scene) error
}

// The kept gap to reach after a planned failover, and after one that the
// Sentinels have to notice first.
const (
	plannedPromoted, plannedConfirmed = 100 * time.Millisecond, 1300 * time.Millisecond
	noticedPromoted, noticedConfirmed = 1500 * time.Millisecond, 2400 * time.Millisecond
)

// Faults are all there are, in order.
var Faults = []Fault{
	{Name: "f0", Title: "no fault", Strict: true, inject: nothing},
	{Name: "f1", Title: "planned failover", Strict: true, Promoted: plannedPromoted, Confirmed: plannedConfirmed, inject: planned},
	{Name: "switchover", Title: "planned by `holdfast switchover`", Strict: true, Own: true, Promoted: 250 * time.Millisecond, inject: switched},
	{Name: "f2", Title: "master killed", Promoted: noticedPromoted, Confirmed: noticedConfirmed, inject: killed},
	{Name: "f3", Title: "master frozen, thawed 1 s after the switch", Promoted: noticedPromoted, Confirmed: noticedConfirmed, inject: frozen},
	{Name: "f4", Title: "master killed, back empty and alone after the switch", Promoted: noticedPromoted, Confirmed: noticedConfirmed, inject: emptied},
	{Name: "f5", Title: "master killed while one Sentinel is frozen", inject: deaf},
	{Name: "f5n", Title: "partition: {master, one Sentinel} from the rest", Namespaces: true, inject: isolated},
	{Name: "f6", Title: "all Sentinels killed for 6 s", Strict: true, inject: blind},
	{Name: "f7", Title: "ten planned failovers in a row", Strict: true, Promoted: plannedPromoted, Confirmed: plannedConfirmed, inject: repeated},
	{Name: "f8", Title: "partition: {endpoint, master, one Sentinel} from the rest", Apart: true, Namespaces: true, inject: minority},
	{Name: "f9", Title: "planned, new master unreachable for 3 s", Strict: true, Namespaces: true,
		Promoted: unreachableFor, Confirmed: unreachableFor, inject: unreachable},
	{Name: "f10", Title: "planned, leader dies before it announces the promotion", Strict: true, Gamble: true, inject: leaderless},
}

func nothing(_ context.Context, s *scene) error {
	s.mark("nothing happens")
	return nil
}

func planned(ctx context.Context, s *scene) error {
	_, err := s.failover(ctx)
	return err
}

// switched has the endpoint itself do it.
func switched(ctx context.Context, s *scene) error {
	old, err := s.master(ctx)
	if err != nil {
		return err
	}
	if s.front.Switchover == nil {
		return errors.New("this endpoint has no switchover of its own")
	}
	s.mark("told the endpoint to switch over from %s", old.Name)
	if err := s.front.Switchover(ctx); err != nil {
		return err
	}
	s.mark("it says that it did")
	_, err = s.other(ctx, old)
	return err
}

// failover asks for one and waits for the switch.
func (s *scene) failover(ctx context.Context) (master *redistest.Node, err error) {
	old, err := s.master(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Failover(ctx); err != nil {
		return nil, err
	}
	s.mark("asked for a failover from %s", old.Name)
	return s.other(ctx, old)
}

// kill kills the master and waits for the switch.
func (s *scene) kill(ctx context.Context) (old *redistest.Node, err error) {
	if old, err = s.master(ctx); err != nil {
		return nil, err
	}
	old.Kill()
	s.mark("killed %s", old.Name)
	_, err = s.other(ctx, old)
	return old, err
}

func killed(ctx context.Context, s *scene) error {
	_, err := s.kill(ctx)
	return err
}

func frozen(ctx context.Context, s *scene) error {
	old, err := s.master(ctx)
	if err != nil {
		return err
	}
	if err := old.Freeze(); err != nil {
		return err
	}
	s.mark("froze %s", old.Name)
	_, err = s.other(ctx, old)
	if err == nil {
		err = wait(ctx, time.Second)
	}
	s.mark("thawed %s", old.Name)
	return errors.Join(err, old.Thaw())
}

func emptied(ctx context.Context, s *scene) error {
	old, err := s.kill(ctx)
	if err == nil {
		err = wait(ctx, 200*time.Millisecond)
	}
	if err == nil {
		s.mark("started %s again, empty", old.Name)
		err = old.Restart(ctx, redistest.Empty)
	}
	return err
}

func deaf(ctx context.Context, s *scene) error {
	first := s.Sentinels[0]
	if err := first.Freeze(); err != nil {
		return err
	}
	s.mark("froze %s", first.Name)
	_, err := s.kill(ctx)
	if err == nil {
		err = wait(ctx, time.Second)
	}
	s.mark("thawed %s", first.Name)
	return errors.Join(err, first.Thaw())
}

func isolated(ctx context.Context, s *scene) error {
	return s.partition(ctx)
}

func minority(ctx context.Context, s *scene) error {
	return s.partition(ctx, s.Endpoint())
}

// healAfter is how long a partition lasts beyond the switch on its other side.
const healAfter = 5 * time.Second

// partition cuts the master, the first Sentinel and these hosts off.
func (s *scene) partition(ctx context.Context, with ...*redistest.Host) error {
	old, err := s.master(ctx)
	if err != nil {
		return err
	}
	if err := s.Partition(append(with, redistest.Hosts(old, s.Sentinels[0])...), nil); err != nil {
		return err
	}
	s.mark("cut %s off", old.Name)
	_, err = s.other(ctx, old)
	if err == nil {
		err = wait(ctx, healAfter)
	}
	s.mark("healed the partition")
	return errors.Join(err, s.Heal())
}

func blind(ctx context.Context, s *scene) error {
	for _, n := range s.Sentinels {
		n.Kill()
	}
	s.mark("killed all Sentinels")
	err := wait(ctx, 6*time.Second)
	for _, n := range s.Sentinels {
		if err == nil {
			err = n.Restart(ctx, redistest.Keep)
		}
	}
	s.mark("started all Sentinels again")
	return err
}

// repeated does not wait until the cluster is whole again, but only until there is
// somebody to fail over to: often the old master is not demoted yet.
func repeated(ctx context.Context, s *scene) error {
	for range 10 {
		master, err := s.failover(ctx)
		if err != nil {
			return err
		}
		if err := s.successor(ctx, master); err != nil {
			return err
		}
	}
	return nil
}

// unreachableFor is how long the endpoint may take to find the new master once it
// can be reached again.
const unreachableFor = 200 * time.Millisecond

func unreachable(ctx context.Context, s *scene) error {
	master, err := s.master(ctx)
	if err != nil {
		return err
	}
	endpoint := []*redistest.Host{s.Endpoint()}
	if err := s.Partition(endpoint, redistest.Hosts(rest(s.Nodes, master)...)); err != nil {
		return err
	}
	s.mark("cut the endpoint off from all replicas")
	_, err = s.failover(ctx)
	if err == nil {
		err = wait(ctx, 3*time.Second)
	}
	err = errors.Join(err, s.Heal())
	s.mark("healed the partition")
	s.healed = s.clock()
	return err
}

// leaderless makes the Sentinel that leads the failover die at the moment when it
// learns of the promotion, so that no other Sentinel ever hears of it. They turn
// the promoted node back into a replica.
func leaderless(ctx context.Context, s *scene) error {
	leader := s.Sentinels[0]
	if _, err := leader.Do(ctx, "SENTINEL", "SIMULATE-FAILURE", "crash-after-promotion"); err != nil {
		return err
	}
	if _, err := leader.Do(ctx, "SENTINEL", "FAILOVER", s.Name()); err != nil {
		return err
	}
	s.mark("asked %s for a failover that it will not survive", leader.Name)
	return retry(ctx, func() error {
		if leader.Alive() {
			return errors.New(leader.Name + " is still alive")
		}
		s.mark("%s died", leader.Name)
		return nil
	})
}
