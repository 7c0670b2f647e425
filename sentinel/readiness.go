package sentinel

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// node is what one says about its replication.
type node struct {
	addr, role, runID string
	offset            int64
	linkUp            bool
	attached          int // replicas, of a master
}

// replication asks a node, over a connection of its own.
func (p prober) replication(ctx context.Context, addr string) (node, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	link, err := connect(ctx, p.outside, addr, p.login, p.timeout)
	if err != nil {
		return node{}, fmt.Errorf("%s cannot be asked: %w", addr, Bare(err))
	}
	defer link.Close()
	info := make(map[string]string)
	for _, section := range []string{"server", "replication"} {
		text, err := link.Info(ctx, section).Result()
		if err != nil {
			return node{}, fmt.Errorf("%s cannot be asked: %w", addr, Bare(err))
		}
		readInfo(text, info)
	}
	n := node{addr: addr, role: info["role"], runID: info["run_id"], linkUp: info["master_link_status"] == "up", attached: attached(info, lagging)}
	offset := info["master_repl_offset"]
	if n.role != "master" {
		offset = info["slave_repl_offset"]
	}
	n.offset, err = strconv.ParseInt(offset, 10, 64)
	return n, err
}

// tellSentinel sends one command to a Sentinel, over a connection of its own.
func (g *Group) tellSentinel(ctx context.Context, addr string, words ...any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	link, err := connect(ctx, g.outside, addr, g.conf.Login, askTime)
	if err != nil {
		return Bare(err)
	}
	defer link.Close()
	if err := link.Do(ctx, words...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return Bare(err)
	}
	return nil
}

// check says whether a switchover can begin, and finds out who takes part.
func (s *switchover) check(ctx context.Context) error {
	v := s.t.View()
	switch {
	case !v.Serving():
		return fmt.Errorf("the master is not served (%s): %s", v.State, v.Reason)
	case !v.Proven:
		return fmt.Errorf("%s has not proved its role to holdfast's own login (see redis.password): %s", v.Master, v.Reason)
	}
	s.old = v
	st := s.t.snapshot.Load()
	if st.Offset == 0 && st.LastProof.IsZero() {
		return fmt.Errorf("%s has not told its role yet", v.Master)
	}
	if err := s.checkSentinels(ctx, st); err != nil {
		return err
	}
	return s.checkNodes(ctx, st)
}

// checkSentinels: a majority answers, all of them agree with the View, none is in
// a failover, and one that can be told has the quorum.
func (s *switchover) checkSentinels(ctx context.Context, st *MasterStats) error {
	if st.SightedSentinels < st.NeededSentinels {
		return fmt.Errorf("%d of %d Sentinels answer and %d are needed", st.SightedSentinels, st.KnownSentinels, st.NeededSentinels)
	}
	for _, seen := range s.g.Stats().Sentinels {
		for _, r := range seen.Masters {
			switch {
			case r.Name != s.Master || !r.Known || !seen.Connected:
			case r.Address != s.old.Master || r.Epoch != s.old.Epoch:
				return fmt.Errorf("the Sentinel %s names %s under epoch %d; served is %s under epoch %d", seen.Address, r.Address, r.Epoch, s.old.Master, s.old.Epoch)
			case r.Stage != "" || hasFlag(r.Flags, "failover_in_progress"):
				return fmt.Errorf("the Sentinel %s leads a failover already: failover-state %s", seen.Address, r.Stage)
			case strings.Contains(r.Flags, "_down"):
				return fmt.Errorf("the Sentinel %s holds %s for down", seen.Address, r.Address)
			case s.via == "" && seen.Subscribed && !seen.Tilt:
				s.via = seen.Address
			}
		}
	}
	if s.via == "" {
		return errors.New("no Sentinel could be told: none both answers and sends its events")
	}
	if err := s.g.tellSentinel(ctx, s.via, "SENTINEL", "CKQUORUM", s.Master); err != nil {
		return fmt.Errorf("the Sentinel %s: %w", s.via, err)
	}
	s.say("Sentinels: %d of %d answer and agree on %s, epoch %d; %s is the one to be told", st.SightedSentinels, st.KnownSentinels, s.old.Master, s.old.Epoch, s.via)
	return nil
}

// checkNodes: the master proves itself now, and each replica that Sentinel may
// choose can be asked, is linked to it and not far behind.
func (s *switchover) checkNodes(ctx context.Context, st *MasterStats) (err error) {
	if s.master, err = s.p.replication(ctx, s.old.Master); err != nil {
		return err
	}
	if s.master.role != "master" {
		return fmt.Errorf("%s says role:%s", s.old.Master, s.master.role)
	}
	for _, r := range st.Replicas {
		if strings.Contains(r.Flags, "_down") || hasFlag(r.Flags, "disconnected") {
			s.say("replica %s is left out: Sentinel has it as %s and will not choose it", r.Address, r.Flags)
			continue
		}
		heir, err := s.p.replication(ctx, r.Address)
		switch {
		case err != nil:
			return fmt.Errorf("the replica %s may be chosen, but %w", r.Address, err)
		case heir.role != "slave" || !heir.linkUp:
			return fmt.Errorf("the replica %s may be chosen, but it says role:%s, link up %v", r.Address, heir.role, heir.linkUp)
		case s.master.offset-heir.offset > smallLag:
			return fmt.Errorf("the replica %s is %d bytes behind; at most %d are caught up with in time", r.Address, s.master.offset-heir.offset, smallLag)
		}
		s.heirs = append(s.heirs, heir)
		s.say("replica %s is online, %d bytes behind", r.Address, max(s.master.offset-heir.offset, 0))
	}
	if len(s.heirs) == 0 {
		return fmt.Errorf("no replica of %s can take over", s.old.Master)
	}
	if !s.FenceWriters {
		s.say("covered is what is written through this holdfast; whoever writes past it, another holdfast too, is not stopped (--fence-writers)")
	}
	return nil
}

// minReplicas is the setting that keeps writers away: a master with fewer replicas
// in sight refuses to write, says NOREPLICAS, and goes on with all the rest, so
// that Sentinel notices nothing. (CLIENT PAUSE would stop Sentinel's own PUBLISH.)
const minReplicas = "min-replicas-to-write"

// fenceWriters has the old master itself refuse writes, until it is put back.
func (s *switchover) fenceWriters(ctx context.Context) error {
	was, err := s.setting(ctx, minReplicas)
	if err != nil {
		return err
	}
	if lag, err := s.setting(ctx, "min-replicas-max-lag"); err != nil || lag == "0" {
		return fmt.Errorf("writers cannot be fenced: %s is off, min-replicas-max-lag is %q %v", minReplicas, lag, err)
	}
	s.say("should holdfast be killed now, put back by hand on %s: CONFIG SET %s %s", s.old.Master, minReplicas, was)
	s.undo = append(s.undo, func() { s.putBackSetting(was) })
	if err := s.configure(ctx, "CONFIG", "SET", minReplicas, "100"); err != nil {
		return err
	}
	s.say("covered are all writers: %s answers them NOREPLICAS (%s 100)", s.old.Master, minReplicas)
	return nil
}

func (s *switchover) setting(ctx context.Context, name string) (value string, err error) {
	err = s.onOld(ctx, func(ctx context.Context, l *link) error {
		got, err := l.ConfigGet(ctx, name).Result()
		value = got[name]
		if err == nil && value == "" {
			err = errors.New("it does not tell " + name)
		}
		return err
	})
	return value, err
}

func (s *switchover) configure(ctx context.Context, words ...any) error {
	return s.onOld(ctx, func(ctx context.Context, l *link) error { return l.Do(ctx, words...).Err() })
}

// onOld does something on the old master.
func (s *switchover) onOld(ctx context.Context, do func(context.Context, *link) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	link, err := connect(ctx, s.p.outside, s.old.Master, s.p.login, askTime)
	if err == nil {
		defer link.Close()
		err = do(ctx, link)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.old.Master, Bare(err))
	}
	return nil
}

// putBackSetting tries for a while, whatever has ended meanwhile. A Sentinel that
// demotes a master has it write its configuration file too; so then that is
// written again.
func (s *switchover) putBackSetting(was string) {
	ctx, cancel := context.WithTimeout(context.Background(), handTime)
	defer cancel()
	for {
		err := s.configure(ctx, "CONFIG", "SET", minReplicas, was)
		if err == nil {
			break
		}
		if !pause(ctx, 100*time.Millisecond, nil) {
			s.say("NOT put back, do it by hand on %s: CONFIG SET %s %s (%v)", s.old.Master, minReplicas, was, err)
			return
		}
	}
	if now, err := s.p.replication(ctx, s.old.Master); err == nil && now.role != "master" && !s.demoted {
		_ = s.configure(ctx, "CONFIG", "REWRITE") // fails where there is no file, which then is not wrong either
	}
	s.say("put back: %s %s on %s", minReplicas, was, s.old.Master)
}

// demote has the old master be a replica before its setting is put back: until
// then it would accept writes that nobody keeps. Where Sentinels do not agree in
// time it is left to them.
func (s *switchover) demote(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	for {
		of := s.agreed()
		if of != "" {
			out := s.p.demote(ctx, demotion{old: s.old.Master, of: of})
			if s.demoted = out.told; out.err == nil {
				s.say("%s is a replica of %s", s.old.Master, of)
				return
			}
		}
		if !pause(ctx, 20*time.Millisecond, nil) {
			s.say("%s is left to Sentinel, which will make it a replica in about 10 s; what is written to it until then is lost", s.old.Master)
			return
		}
	}
}

// agreed is the new master as the Sentinels announce it, once all that answer do.
func (s *switchover) agreed() (announced string) {
	v := s.t.View()
	for _, w := range *s.g.watchers.Load() {
		for _, r := range w.asked.Load().masters {
			switch {
			case r.Name != s.Master || !r.Known || !w.asked.Load().connected:
			case !v.Serving() || !v.Proven || r.Address != v.Master || r.Epoch != v.Epoch:
				return ""
			default:
				announced = r.Announced
			}
		}
	}
	return announced
}
