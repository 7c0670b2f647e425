package sentinel

import (
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// TestDemote: after a planned failover the old master is a replica as soon as all
// Sentinels agree, with its clients closed, and Sentinel is content with that.
func TestDemote(t *testing.T) {
	ctx, c, f, old, _ := started(t, redistest.Options{Password: "secret"},
		func(_ *config.Sentinel, fo *config.Failover) {
			fo.Release, fo.DemoteOldMaster = config.Promoted, true
		})
	if err := c.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	after := f.await("serving another", func(v *View) bool { return v.Serving() && v.Master != old.Addr })
	awaitDemotion(ctx, t, old)
	eventually(t, "it is counted", func() bool { return f.group.Stats().Masters[0].Demotions > 0 })
	if m := f.group.Stats().Masters[0]; m.Demotions != 1 || m.Undemoted != 0 || m.View.Seq != after.Seq || m.Moves != 1 {
		t.Errorf("%d demotions, %d failed, %d moves, %+v", m.Demotions, m.Undemoted, m.Moves, m.View)
	}
	if m := f.group.Stats().Masters[0]; m.Events["+convert-to-slave"] != 0 {
		t.Errorf("Sentinel was first: %v", m.Events)
	}
	if _, err := c.AwaitMaster(ctx, func(n *redistest.Node) bool { return n.Addr == after.Master }); err != nil {
		t.Fatal(err)
	}
}

// TestDemoteOutcomes: a node that is a replica is told nothing, and what was not
// done is no success.
func TestDemoteOutcomes(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*redistest.ScriptedNode)
		told bool
		fail bool
	}{
		{"replica", func(n *redistest.ScriptedNode) {
			n.Change(func(st *redistest.NodeState) { st.Role, st.Master = "slave", "10.0.0.1:6379" })
		}, false, false},
		{"refuses", func(n *redistest.ScriptedNode) { n.Refuse() }, false, true},
		{"hangs", func(n *redistest.ScriptedNode) { n.Silence(true) }, false, true},
		{"wants a login", func(n *redistest.ScriptedNode) { n.Require("", "secret") }, false, true},
		{"may not", func(n *redistest.ScriptedNode) {
			n.Handle("REPLICAOF", redistest.Error("NOPERM this user has no permissions to run the 'replicaof' command"))
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := redistest.NewScriptedNode(t)
			c.set(n)
			p := prober{outside: dialer(), timeout: 300 * time.Millisecond}
			out := p.demote(t.Context(), demotion{old: n.Addr(), of: "10.0.0.9:6379"})
			if out.told != c.told || (out.err != nil) != c.fail {
				t.Errorf("%+v", out)
			}
			if st := n.State(); st.Master == "10.0.0.9:6379" {
				t.Errorf("it was told: %+v", st)
			}
		})
	}
}
