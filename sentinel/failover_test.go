package sentinel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// patience is how long anything may take that a test waits for.
const patience = 30 * time.Second

// followed is a Group that runs, and all its Views of one master.
type followed struct {
	*testing.T
	group   *Group
	tracker *Tracker

	mu    sync.Mutex
	views []*View
}

// settings are what most tests configure.
func settings(addrs []string) (config.Sentinel, config.Failover) {
	d := config.Default()
	d.Sentinel.Addresses = addrs
	d.Sentinel.PollInterval = config.Duration(500 * time.Millisecond)
	return d.Sentinel, d.Failover
}

// follow runs a Group until the test's end.
func follow(t *testing.T, s config.Sentinel, f config.Failover, login config.Login, o *outside) *followed {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t))
	masters := map[string]config.Login{"mymaster": login}
	fl := &followed{T: t, group: New(s, f, masters, config.ClientTLS{}, log)}
	if o != nil {
		fl.group = newGroup(s, f, masters, config.ClientTLS{}, log, *o)
	}
	fl.tracker = fl.group.Tracker("mymaster")
	fl.views = []*View{fl.tracker.View()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { fl.group.Run(ctx) })
	running.Go(func() { fl.record(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return fl
}

// record keeps every View, which waiting for one after the other must not miss.
func (f *followed) record(ctx context.Context) {
	v := f.tracker.View()
	for {
		select {
		case <-v.Superseded():
			v = f.tracker.View()
			f.mu.Lock()
			f.views = append(f.views, v)
			f.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// seen are the Views from this number on.
func (f *followed) seen(from uint64) []*View {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.views, func(v *View) bool { return v.Seq >= from })
	if i < 0 {
		return nil
	}
	return slices.Clone(f.views[i:])
}

// await waits for a View.
func (f *followed) await(what string, accept func(*View) bool) *View {
	f.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		v := f.tracker.View()
		if accept(v) {
			return v
		}
		select {
		case <-v.Superseded():
		case <-timeout.C:
			f.Fatalf("no View %s; the last: %+v; %s", what, v, f.group.Stats().Masters[0].Reason)
		}
	}
}

func (f *followed) awaitServing(addr string) *View {
	f.Helper()
	return f.await("serving "+addr, func(v *View) bool { return v.Serving() && (addr == "" || v.Master == addr) })
}

// eventually waits until something holds that nobody announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("never: " + what)
		}
	}
}

func long(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds, with real servers")
	}
}

// roles polls the nodes but the master for the first that says role:master.
func awaitPromotion(ctx context.Context, c *redistest.Cluster, old *redistest.Node) (addr string, at time.Time) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		for _, n := range c.Nodes {
			if n == old {
				continue
			}
			if role, err := n.Role(ctx); err == nil && role == "master" {
				return n.Addr, time.Now()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", time.Time{}
		}
	}
}

// started is a cluster and a Group that follows it and serves its master.
func started(t *testing.T, o redistest.Options, change func(*config.Sentinel, *config.Failover)) (context.Context, *redistest.Cluster, *followed, *redistest.Node, *View) {
	t.Helper()
	long(t)
	o.Replicas, o.Sentinels = 2, 3
	c := redistest.New(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	s, fo := settings(c.SentinelAddrs()[:1]) // the others are discovered
	s.Password = config.Secret(o.SentinelPassword)
	if change != nil {
		change(&s, &fo)
	}
	var away *outside
	if host := c.Endpoint(); host != nil {
		away = &outside{dial: host.DialContext}
	}
	f := follow(t, s, fo, config.Login{Password: config.Secret(o.Password)}, away)
	master, err := c.Master(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v := f.awaitServing(master.Addr)
	f.awaitSubscribed(3)
	return ctx, c, f, master, v
}

// neverBackAt fails the test if the old master was served after the first View
// that did not serve it.
func (f *followed) neverBackAt(old *redistest.Node, from uint64) {
	f.Helper()
	for _, v := range f.seen(from) {
		if v.Serving() && v.Master == old.Addr {
			f.Errorf("back at the old master: %+v", v)
		}
	}
}

// awaitDemotion waits until Sentinel has made the old master a replica.
func awaitDemotion(ctx context.Context, t *testing.T, old *redistest.Node) {
	t.Helper()
	eventually(t, "the old master is demoted", func() bool {
		role, err := old.Role(ctx)
		return err == nil && role == "slave"
	})
}

// TestPlannedFailover fences before the promotion, serves the new master only,
// and is never back at the old one, which goes on claiming for ten seconds.
func TestPlannedFailover(t *testing.T) {
	for _, release := range []config.Release{config.Promoted, config.Confirmed} {
		t.Run(string(release), func(t *testing.T) {
			ctx, c, f, old, before := started(t, redistest.Options{Password: "secret", SentinelPassword: "quiet"},
				func(_ *config.Sentinel, fo *config.Failover) { fo.Release = release })
			asked := time.Now()
			if err := c.Failover(ctx); err != nil {
				t.Fatal(err)
			}
			addr, promoted := awaitPromotion(ctx, c, old)
			after := f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
			if after.Master != addr || !after.Proven || after.RunID == "" || after.Epoch <= before.Epoch {
				t.Errorf("not the one promoted, proven and newer: %+v, promoted %s", after, addr)
			}
			fence := f.seen(before.Seq + 1)[0]
			if fence.State != Fenced || fence.Master != old.Addr || !fence.Since.Before(promoted) {
				t.Errorf("not fenced before the promotion: %+v, promoted %v", fence, promoted)
			}
			t.Logf("%s, after SENTINEL FAILOVER: fenced %v, promotion seen %v, serving %v", release,
				fence.Since.Sub(asked), promoted.Sub(asked), after.Since.Sub(asked))
			if release == config.Promoted {
				awaitDemotion(ctx, t, old)
			}
			f.neverBackAt(old, fence.Seq)
			m := f.group.Stats().Masters[0]
			if m.Moves != 1 || len(m.Failovers) != 1 || m.Failovers[0].To != addr {
				t.Errorf("counted %d: %+v", m.Moves, m.Failovers)
			}
			if m.View.Seq != after.Seq {
				t.Errorf("another View after the failover: %+v", m.View)
			}
		})
	}
}

// TestCrash: a killed master is found out at once, and nothing goes to it when it
// is back, empty, saying role:master.
func TestCrash(t *testing.T) {
	ctx, c, f, old, before := started(t, redistest.Options{}, nil)
	old.Kill()
	f.tracker.Doubt(before, "connection reset")
	doubt := f.await("in doubt", func(v *View) bool { return v.Seq > before.Seq })
	if doubt.State != Doubt {
		t.Errorf("%+v", doubt)
	}
	f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
	if err := old.Restart(ctx, redistest.Empty); err != nil {
		t.Fatal(err)
	}
	awaitDemotion(ctx, t, old)
	f.neverBackAt(old, doubt.Seq)

	// Demoted, it may be elected again, and is served then.
	if err := c.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is known as a replica", func() bool {
		return slices.ContainsFunc(f.group.Stats().Masters[0].Replicas, func(r Replica) bool {
			return r.Address == old.Addr && r.Role == "slave" && r.Master == f.tracker.View().Master
		})
	})
	for _, n := range c.Nodes {
		if n != old { // so that no other can be selected
			if _, err := n.Do(ctx, "CONFIG", "SET", "replica-priority", "0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The Sentinels learn of the priorities by INFO, every ten seconds.
	eventually(t, "the priorities are known", func() bool { return barredBySentinels(ctx, c, old) })
	eventually(t, "the failover back begins", func() bool { return c.Failover(ctx) == nil })
	f.awaitServing(old.Addr)
}

// barredBySentinels tells whether every Sentinel knows that no replica but this
// one may be promoted.
func barredBySentinels(ctx context.Context, c *redistest.Cluster, but *redistest.Node) bool {
	for _, s := range c.Sentinels {
		reply, err := s.Do(ctx, "SENTINEL", "REPLICAS", c.Name())
		list, ok := reply.([]any)
		if err != nil || !ok {
			return false
		}
		for _, e := range list {
			words, _ := e.([]any)
			told := map[string]string{}
			for i := 0; i+1 < len(words); i += 2 {
				told[fmt.Sprint(words[i])] = fmt.Sprint(words[i+1])
			}
			if told["name"] != but.Addr && told["slave-priority"] != "0" {
				return false
			}
		}
	}
	return true
}

// TestFreeze: a frozen master is left when the Sentinels leave it. Thawed, it
// accepts and claims as before, for ten seconds, and gets nothing.
func TestFreeze(t *testing.T) {
	ctx, _, f, old, before := started(t, redistest.Options{}, nil)
	if err := old.Freeze(); err != nil {
		t.Fatal(err)
	}
	first := f.await("not serving", func(v *View) bool { return v.Seq > before.Seq })
	if first.Serving() {
		t.Errorf("%+v", first)
	}
	f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
	if err := old.Thaw(); err != nil {
		t.Fatal(err)
	}
	awaitDemotion(ctx, t, old)
	f.neverBackAt(old, first.Seq)
}

// TestSentinelsKilled: without any Sentinel the master is served as before, and
// found again when it was restarted.
func TestSentinelsKilled(t *testing.T) {
	ctx, c, f, master, before := started(t, redistest.Options{}, nil)
	if _, err := master.Do(ctx, "SET", "key", "value"); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Sentinels {
		s.Kill()
	}
	eventually(t, "no Sentinel is in sight", func() bool { return f.group.Stats().Masters[0].SightedSentinels == 0 })
	proof := f.group.Stats().Masters[0].LastProof
	eventually(t, "the master proves itself", func() bool {
		m := f.group.Stats().Masters[0]
		return m.LastProof.After(proof) && m.Keys == 1
	})
	if v := f.tracker.View(); v != before {
		t.Errorf("%+v", v)
	}
	if err := master.Restart(ctx, redistest.Empty); err != nil {
		t.Fatal(err)
	}
	again := f.await("serving the new process", func(v *View) bool { return v.Serving() && v.RunID != before.RunID })
	if again.Master != master.Addr {
		t.Errorf("%+v", again)
	}
	if m := f.group.Stats().Masters[0]; m.Reboots != 1 || m.Losses != 1 || m.Moves != 0 {
		t.Errorf("counted %d reboots, %d of them with a loss, %d moves", m.Reboots, m.Losses, m.Moves)
	}
	for _, s := range c.Sentinels {
		if err := s.Restart(ctx, redistest.Keep); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitSubscribed(3)
}

// TestLeaderDies: the leader dies right after the promotion, before it has told
// anybody. Whoever was released on the node's own word comes back to the old
// master, which is all that the other Sentinels know of.
func TestLeaderDies(t *testing.T) {
	ctx, c, f, old, before := started(t, redistest.Options{FailoverTimeout: time.Minute},
		func(_ *config.Sentinel, fo *config.Failover) { fo.Release = config.Promoted })
	if _, err := c.Sentinels[0].Do(ctx, "SENTINEL", "SIMULATE-FAILURE", "crash-after-promotion"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Sentinels[0].Do(ctx, "SENTINEL", "FAILOVER", "mymaster"); err != nil {
		t.Fatal(err)
	}
	released := f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
	back := f.awaitServing(old.Addr)
	if released.Epoch <= before.Epoch || back.Epoch != before.Epoch {
		t.Errorf("epochs %d, %d, %d", before.Epoch, released.Epoch, back.Epoch)
	}
}

// TestLogins: nodes and Sentinels with passwords that are not known here.
func TestLogins(t *testing.T) {
	long(t)
	c := redistest.New(t, redistest.Options{Sentinels: 1, Password: "secret", SentinelPassword: "quiet"})
	conf, fo := settings(c.SentinelAddrs())
	t.Run("no password for the Sentinels", func(t *testing.T) {
		f := follow(t, conf, fo, config.Login{}, nil)
		eventually(t, "the error is told", func() bool {
			return strings.Contains(f.sentinel(c.Sentinels[0].Addr).Error, "it wants a login")
		})
		if v := f.tracker.View(); v.State != Unknown {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a wrong one", func(t *testing.T) {
		conf := conf
		conf.Password = "loud"
		f := follow(t, conf, fo, config.Login{}, nil)
		eventually(t, "the error is told", func() bool {
			return strings.Contains(f.sentinel(c.Sentinels[0].Addr).Error, "it refuses the login")
		})
	})
	conf.Password = "quiet"
	t.Run("none for the nodes", func(t *testing.T) {
		f := follow(t, conf, fo, config.Login{}, nil)
		if v := f.awaitServing(c.Nodes[0].Addr); v.Proven || !strings.Contains(v.Reason, "wants a login") {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a wrong one for the nodes", func(t *testing.T) {
		f := follow(t, conf, fo, config.Login{Password: "loud"}, nil)
		eventually(t, "the refusal is told", func() bool {
			return strings.Contains(f.group.Stats().Masters[0].Reason, "WRONGPASS")
		})
		if v := f.tracker.View(); v.State != Verifying {
			t.Errorf("%+v", v)
		}
	})
}

// TestMinority: cut off together with the old master and one Sentinel, nothing is
// served; after that, what the others have agreed on.
func TestMinority(t *testing.T) {
	ctx, c, f, old, before := started(t, redistest.Options{Namespaces: true}, nil)
	eventually(t, "the replicas are counted", func() bool { return f.group.Stats().Masters[0].AttachedReplicas == 2 })
	ours := append(redistest.Hosts(old, c.Sentinels[0]), c.Endpoint())
	if err := c.Partition(ours, nil); err != nil {
		t.Fatal(err)
	}
	fence := f.await("fenced", func(v *View) bool { return v.Seq > before.Seq })
	if fence.State != Fenced || fence.Master != old.Addr {
		t.Errorf("%+v", fence)
	}
	if !strings.Contains(fence.Reason, "in time") {
		t.Errorf("fenced when the Sentinels were given up, and not when their answers were overdue: %s", fence.Reason)
	}
	if _, err := c.AwaitMaster(ctx, func(n *redistest.Node) bool { return n != old }); err != nil {
		t.Fatal(err)
	}
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
	f.neverBackAt(old, fence.Seq)
}
