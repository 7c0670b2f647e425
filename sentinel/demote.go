package sentinel

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// For about eleven seconds after a failover that it survived, the old master goes
// on saying role:master and accepting writes that nobody will keep: Sentinel
// demotes it only when it has seen it like that for eight seconds. Nothing of ours
// goes there, but others may not know. failover.demote_old_master has us tell it
// what Sentinel would.

// demotion is an old master and whose replica it is to be.
type demotion struct {
	old string // as a dialable address
	of  string // the master's host:port as it is announced: what is reachable for us need not be so for its replica
}

// The pace and the bounds of attempts. One that is dead is awaited for a while; one
// that has been told once is never told again.
const (
	demoteEvery = time.Second
	demoteTries = 30
)

// demoted is the outcome of an attempt.
type demoted struct {
	demotion
	told bool  // it was master until then
	err  error // it could not be asked or told; nil and not told: it is a replica already
}

// demotion says which old master is to be told, and when. There is one only while
// another is served and proven, no failover is under way, and every Sentinel in
// sight, and so many that they are a majority, names that one under that epoch.
func (m *machine) demotion() (d demotion, at time.Time) {
	if !m.rules.demote || m.view.State != Serving || !m.view.Proven || m.view.Master != m.addr {
		return demotion{}, time.Time{}
	}
	of := ""
	b := m.bench()
	for _, r := range b.sighted {
		if !r.names(configuration{m.addr, m.epoch}) || decisive(r.stage) {
			return demotion{}, time.Time{}
		}
		of = cmp.Or(of, r.announced)
	}
	if len(b.sighted) < b.majority() {
		return demotion{}, time.Time{}
	}
	for _, old := range slices.Sorted(maps.Keys(m.left)) {
		left := m.left[old]
		if old == m.addr || left.demoted || left.told || left.tries >= demoteTries {
			continue
		}
		next := m.now
		if !left.tried.IsZero() {
			next = left.tried.Add(demoteEvery)
		}
		if d.old == "" || next.Before(at) {
			d, at = demotion{old: old, of: of}, next
		}
	}
	return d, at
}

// told takes in the outcome of an attempt.
func (m *machine) told(now time.Time, out demoted) {
	m.at(now)
	left, ok := m.left[out.old]
	if !ok {
		return
	}
	left.tries++
	left.tried = now
	switch {
	case out.told:
		left.told = true
		m.counts.Demotions++
		m.say(loud, "demote", "the old master %s still said role:master; told to be a replica of %s, and its clients were closed", out.old, out.of)
	case out.err == nil:
		left.told = true
		m.say(quiet, "demote", "the old master %s is a replica already", out.old)
	default:
		m.counts.Undemoted++
		m.say(loud, "demote", "the old master %s cannot be told to be a replica of %s: %v", out.old, out.of, out.err)
	}
	m.left[out.old] = left
}

// demote tells an old master, if it says that it is one. It takes no longer than
// the timeout. Both commands are one transaction, as Sentinel has it: no client is
// left that believes to talk to a master.
func (p prober) demote(ctx context.Context, d demotion) demoted {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	out := demoted{demotion: d}
	link, err := connect(ctx, p.outside, d.old, p.login, p.timeout)
	if err != nil {
		out.err = err
		return out
	}
	defer link.Close()
	role, err := link.Do(ctx, "ROLE").Slice()
	if err != nil || len(role) == 0 {
		out.err = Bare(cmp.Or(err, fmt.Errorf("it told no role")))
		return out
	}
	if role[0] != "master" {
		return out
	}
	host, port, err := net.SplitHostPort(d.of)
	if err != nil {
		out.err = err
		return out
	}
	_, err = link.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.Do(ctx, "REPLICAOF", host, port)
		tx.Do(ctx, "CLIENT", "KILL", "TYPE", "normal") // all but this connection
		return nil
	})
	out.told, out.err = err == nil, Bare(err)
	return out
}
