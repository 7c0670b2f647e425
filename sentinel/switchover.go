package sentinel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A planned failover by hand of Sentinel loses what was written between the last
// acknowledgement of the replica and its promotion, unless nobody writes then. A
// switchover makes sure of it: holdfast fences the master itself, waits until its
// replicas have everything, and only then asks a Sentinel. The order of the steps
// is the whole point, and each is bounded and undone.

// The bounds of the steps.
const (
	drainTime  = 2 * time.Second // for the answers that are under way
	offsetTime = 2 * time.Second // for the replicas to have everything
	askTime    = time.Second     // for one question to a node or a Sentinel
	handTime   = 5 * time.Second // to put back what was changed on a server
	smallLag   = 64 << 20        // bytes that a replica may be behind before the fence
)

// Switchover is a planned failover. Drain and Say are called on the goroutine that
// runs it.
type Switchover struct {
	Master       string // its name
	DryRun       bool   // only the checks
	FenceWriters bool   // also those that do not come through this holdfast
	Timeout      time.Duration
	// Drain returns once nothing is under way to the fenced master's node, or with
	// the reason why that takes longer than ctx.
	Drain func(ctx context.Context) error
	// Say is told each step, as one line.
	Say func(line string)
}

// switchover is one that runs.
type switchover struct {
	Switchover
	g       *Group
	t       *Tracker
	p       prober
	began   time.Time
	old     *View     // that served
	master  node      // the old one
	heirs   []node    // the replicas that Sentinel may choose
	via     string    // the Sentinel that is asked
	undo    []func()  // last first
	demoted bool      // the old master, by us
	fenced  time.Time // when commands began to wait
}

// Switchover runs one. It returns nil when another master is served, or with
// DryRun, when it could be. Otherwise the old master serves on, unless a failover
// under way decides otherwise. What was changed on a server is put back before it
// returns, also when ctx ends.
func (g *Group) Switchover(ctx context.Context, o Switchover) error {
	t := g.trackers[o.Master]
	if t == nil {
		return fmt.Errorf("no listener is for a master named %q; there are: %s", o.Master, strings.Join(g.names, ", "))
	}
	if !t.switching.TryLock() {
		return errors.New("another switchover of this master is under way")
	}
	defer t.switching.Unlock()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	s := &switchover{Switchover: o, g: g, t: t, p: t.prober, began: time.Now()}
	s.p.timeout = askTime
	defer s.putBack()
	if err := s.check(ctx); err != nil {
		return err
	}
	if o.DryRun {
		s.say("nothing was changed (dry run); a switchover can begin")
		return nil
	}
	return s.run(ctx)
}

// say tells a step, with the milliseconds since the beginning.
func (s *switchover) say(format string, args ...any) {
	line := fmt.Sprintf("%6d ms  %s", time.Since(s.began).Milliseconds(), fmt.Sprintf(format, args...))
	s.t.log.Info().Msg("switchover: " + strings.TrimSpace(line))
	s.Say(line)
}

// putBack undoes what was done, the last first.
func (s *switchover) putBack() {
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
	s.undo = nil
}

// run does it, after the checks.
func (s *switchover) run(ctx context.Context) error {
	s.undo = append(s.undo, s.t.unfence)
	v, err := s.t.fenceOff(ctx, s.old, drainTime+offsetTime+s.t.machine.rules.fenceTimeout)
	if err != nil {
		return err
	}
	s.fenced = v.Since
	s.say("fenced: commands to %s wait here", s.old.Master)
	if s.FenceWriters {
		if err := s.fenceWriters(ctx); err != nil {
			return err
		}
	}
	if err := s.drain(ctx); err != nil {
		return err
	}
	if err := s.awaitOffsets(ctx); err != nil {
		return err
	}
	if err := s.g.tellSentinel(ctx, s.via, "SENTINEL", "FAILOVER", s.Master); err != nil {
		return fmt.Errorf("the Sentinel %s refuses the failover: %w", s.via, err)
	}
	s.say("Sentinel %s was told to fail over", s.via)
	if err := s.follow(ctx); err != nil {
		return err
	}
	if s.FenceWriters {
		s.demote(ctx)
	}
	return nil
}

// drain waits for the answers that are under way. What is written after that, past
// this holdfast, would be in danger until the replica is promoted.
func (s *switchover) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		return fmt.Errorf("what is under way does not end: %w", err)
	}
	s.say("drained: every command that was sent is answered")
	return nil
}

// awaitOffsets waits until every replica that Sentinel may choose has all that the
// master had when nothing was under way any more.
func (s *switchover) awaitOffsets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, offsetTime)
	defer cancel()
	now, err := s.p.replication(ctx, s.master.addr)
	if err != nil {
		return err
	}
	if now.role != "master" || now.runID != s.master.runID {
		return fmt.Errorf("%s is no longer the master that it was", s.master.addr)
	}
	for _, heir := range s.heirs {
		for {
			at, err := s.p.replication(ctx, heir.addr)
			if err != nil {
				return fmt.Errorf("waiting for the replicas: %w", err)
			}
			if at.offset >= now.offset {
				break
			}
			if !pause(ctx, time.Millisecond, nil) {
				return fmt.Errorf("the replica %s has %d of %d bytes after %v", heir.addr, at.offset, now.offset, offsetTime)
			}
		}
	}
	s.say("replicated: %d replicas have everything, offset %d", len(s.heirs), now.offset)
	return nil
}

// follow waits until another master is served, as long as the fence may last.
func (s *switchover) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.t.machine.rules.fenceTimeout)
	defer cancel()
	for v := s.t.View(); ; v = s.t.View() {
		if v.Serving() && v.Master != s.old.Master {
			s.say("serving %s, epoch %d: commands waited for %d ms", v.Master, v.Epoch, v.Since.Sub(s.fenced).Milliseconds())
			return nil
		}
		if v.Serving() {
			return fmt.Errorf("the failover came to nothing: %s serves again", v.Master)
		}
		select {
		case <-v.Superseded():
		case <-ctx.Done():
			return fmt.Errorf("no other master was served in time (%s); the old one may go on, unless a failover is under way", v.Reason)
		}
	}
}
