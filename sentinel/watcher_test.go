package sentinel

import (
	"context"
	"fmt"
	"net"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// stage is scripted Sentinels that know each other and one scripted master.
type stage struct {
	master    *redistest.ScriptedNode
	sentinels []*redistest.ScriptedSentinel
}

func newStage(t *testing.T, n int) *stage {
	s := &stage{master: redistest.NewScriptedNode(t)}
	s.master.Change(func(st *redistest.NodeState) { st.RunID = "abc" })
	for range n {
		s.sentinels = append(s.sentinels, redistest.NewScriptedSentinel(t))
	}
	for i, one := range s.sentinels {
		var peers []redistest.PeerState
		for j, other := range s.sentinels {
			if i != j {
				peers = append(peers, redistest.PeerState{Addr: other.Addr(), ID: fmt.Sprintf("id%d", j)})
			}
		}
		one.Change(func(st *redistest.SentinelState) {
			st.ID = fmt.Sprintf("id%d", i)
			st.Masters["mymaster"] = &redistest.MasterState{Addr: s.master.Addr(), Epoch: 1, Quorum: 2, Sentinels: peers}
		})
	}
	return s
}

// quick are settings that notice things soon.
func quick(s *stage, first int) (config.Sentinel, config.Failover) {
	var addrs []string
	for _, one := range s.sentinels[:first] {
		addrs = append(addrs, one.Addr())
	}
	conf, fo := settings(addrs)
	conf.PollInterval = config.Duration(100 * time.Millisecond)
	conf.Timeout = config.Duration(300 * time.Millisecond)
	return conf, fo
}

// sentinel are the stats of the Sentinel at addr, empty if it is not watched.
func (f *followed) sentinel(addr string) SentinelStats {
	for _, s := range f.group.Stats().Sentinels {
		if s.Address == addr {
			return s
		}
	}
	return SentinelStats{}
}

func (f *followed) awaitSubscribed(n int) {
	f.Helper()
	eventually(f.T, fmt.Sprintf("%d Sentinels subscribed to", n), func() bool {
		list := f.group.Stats().Sentinels
		return len(list) == n && !slices.ContainsFunc(list, func(s SentinelStats) bool { return !s.Subscribed || !s.Connected })
	})
}

// One configured Sentinel is enough to find the others, and to notice when one is
// at another address.
func TestDiscovery(t *testing.T) {
	s := newStage(t, 3)
	conf, fo := quick(s, 1)
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	f.awaitSubscribed(3)
	for i, one := range s.sentinels {
		got := f.sentinel(one.Addr())
		if got.ID != fmt.Sprintf("id%d", i) || got.Configured != (i == 0) || len(got.Masters) != 1 || got.Masters[0].Epoch != 1 {
			t.Errorf("%+v", got)
		}
	}
	if m := f.group.Stats().Masters[0]; m.KnownSentinels != 3 || m.NeededSentinels != 2 {
		t.Errorf("knows %d and needs %d", m.KnownSentinels, m.NeededSentinels)
	}
	moved := redistest.NewScriptedSentinel(t)
	s.sentinels[2].Close()
	moved.Change(func(st *redistest.SentinelState) {
		st.ID = "id2"
		st.Masters["mymaster"] = &redistest.MasterState{Addr: s.master.Addr(), Epoch: 1, Quorum: 2}
	})
	for _, one := range s.sentinels[:2] {
		one.Change(func(st *redistest.SentinelState) {
			peers := st.Masters["mymaster"].Sentinels
			peers[len(peers)-1].Addr = moved.Addr()
		})
	}
	eventually(t, "the moved Sentinel is watched", func() bool { return f.sentinel(moved.Addr()).Connected })
	if m := f.group.Stats().Masters[0]; m.KnownSentinels != 3 {
		t.Errorf("knows %d", m.KnownSentinels)
	}
}

// The same Sentinel under a name and under its address counts once.
func TestAlias(t *testing.T) {
	s := newStage(t, 3)
	conf, fo := quick(s, 3)
	_, port, _ := net.SplitHostPort(s.sentinels[1].Addr())
	conf.Addresses = []string{s.sentinels[0].Addr(), "localhost:" + port, s.sentinels[2].Addr()}
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	f.awaitSubscribed(3)
	if m := f.group.Stats().Masters[0]; m.KnownSentinels != 3 {
		t.Errorf("knows %d", m.KnownSentinels)
	}
}

// What is wrong with a Sentinel is said in one clear sentence, and the others are
// enough meanwhile.
func TestSentinelFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*redistest.ScriptedSentinel)
		login config.Login
		want  string
		polls bool // it is polled all the same
	}{
		{"refused", func(s *redistest.ScriptedSentinel) { s.Refuse() }, config.Login{}, "connection refused", false},
		{"silent", func(s *redistest.ScriptedSentinel) { s.Silence(true) }, config.Login{}, "no answer in time", false},
		{"hanging", func(s *redistest.ScriptedSentinel) { s.Handle("SENTINEL REPLICAS", redistest.Hang) }, config.Login{}, "no answer in time", false},
		{"half a reply", func(s *redistest.ScriptedSentinel) {
			s.Handle("SENTINEL MASTER", redistest.Half("*40\r\n$4\r\nname\r\n$8\r\nmym"))
		}, config.Login{}, "no answer in time", false},
		{"wrong password", func(s *redistest.ScriptedSentinel) { s.Require("", "another") }, config.Login{Password: "secret"}, "it refuses the login", false},
		{"no password", func(s *redistest.ScriptedSentinel) { s.Require("", "another") }, config.Login{}, "it wants a login", false},
		{"no permission", func(s *redistest.ScriptedSentinel) {
			s.Handle("SENTINEL MASTER", redistest.Error("NOPERM this user has no permissions to run the 'sentinel|master' command"))
		}, config.Login{}, "its ACL does not let us", false},
		{"no permission to subscribe", func(s *redistest.ScriptedSentinel) {
			s.Handle("PSUBSCRIBE", redistest.Error("NOPERM this user has no permissions to access one of the channels used as arguments"))
		}, config.Login{}, "its ACL does not let us", true},
		{"unknown name", func(s *redistest.ScriptedSentinel) {
			s.Change(func(st *redistest.SentinelState) { clear(st.Masters) })
		}, config.Login{}, `it has no master named "mymaster"`, true},
		{"unresolvable", func(s *redistest.ScriptedSentinel) {
			s.Change(func(st *redistest.SentinelState) { st.Masters["mymaster"].Addr = "db.invalid:6379" })
		}, config.Login{}, "resolve db.invalid", true},
		{"garbage", func(s *redistest.ScriptedSentinel) { s.Handle("HELLO", redistest.Raw("HTTP/1.1 400\r\n\r\n")) }, config.Login{}, "HTTP/1.1", false},
		{"hostile reply", func(s *redistest.ScriptedSentinel) {
			s.Handle("SENTINEL SENTINELS", redistest.Raw("*1\r\n*3\r\n:1\r\n*-1\r\n$-1\r\n"))
		}, config.Login{}, "redis:", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, 3)
			bad := s.sentinels[2]
			c.spoil(bad)
			conf, fo := quick(s, 3)
			conf.Login = c.login
			f := follow(t, conf, fo, config.Login{}, nil)
			f.awaitServing(s.master.Addr())
			var got SentinelStats
			eventually(t, "the error is told: "+c.want, func() bool {
				got = f.sentinel(bad.Addr())
				return strings.Contains(got.Error, c.want) && (got.Connected || !c.polls)
			})
			if strings.Contains(got.Error, "secret") {
				t.Errorf("tells the password: %s", got.Error)
			}
			if !c.polls && (got.Connected || got.ErrorCount == 0) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A Sentinel without SENTINEL MYID, as before 6.2, is known by its address.
func TestOldSentinel(t *testing.T) {
	s := newStage(t, 1)
	s.sentinels[0].Handle("SENTINEL MYID", redistest.Error("ERR Unknown sentinel subcommand 'MYID'"))
	s.sentinels[0].Handle("HELLO", redistest.Error("ERR unknown command `HELLO`"))
	conf, fo := quick(s, 1)
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	f.awaitSubscribed(1)
	if id := f.sentinel(s.sentinels[0].Addr()).ID; id != s.sentinels[0].Addr() {
		t.Errorf("called %q", id)
	}
}

// A subscription that is half open looks like a quiet one: it is pinged, given
// up, and made anew. Events that are none end it too, and nothing else.
func TestSubscriptionRenewed(t *testing.T) {
	long(t)
	s := newStage(t, 1)
	one := s.sentinels[0]
	conf, fo := quick(s, 1)
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitSubscribed(1)
	renewed := func(what string, spoil func()) {
		t.Helper()
		before := one.Count("PSUBSCRIBE")
		spoil()
		eventually(t, "subscribed again after "+what, func() bool { return one.Count("PSUBSCRIBE") > before })
		one.Handle("PING", func(c *redistest.Conn, _ []string) { c.WriteStrings("pong", "") })
		f.awaitSubscribed(1)
	}
	pings := one.Count("PING")
	eventually(t, "it is pinged", func() bool { return one.Count("PING") > pings })
	renewed("a ping without answer", func() { one.Handle("PING", func(*redistest.Conn, []string) {}) })
	renewed("a message that is none", func() { one.Handle("PING", redistest.Raw("*0\r\n")) })
	renewed("half a message", func() { one.Handle("PING", redistest.Half("*4\r\n$8\r\npmess")) })
	renewed("a cut connection", one.Cut)
	if f.tracker.View().Master != s.master.Addr() {
		t.Errorf("%+v", f.tracker.View())
	}
}

// The address and the epoch that are believed belong together, even if the
// master changes between two replies of one poll.
func TestTornPoll(t *testing.T) {
	s := newStage(t, 1)
	one := s.sentinels[0]
	other := redistest.NewScriptedNode(t)
	conf, fo := quick(s, 1)
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	var replies []redistest.Handler
	pair := func(addr string) redistest.Handler {
		host, port, _ := net.SplitHostPort(addr)
		return func(c *redistest.Conn, _ []string) { c.WriteStrings(host, port) }
	}
	for range 20 { // old address, new epoch, new address
		replies = append(replies, pair(s.master.Addr()), pair(other.Addr()))
	}
	one.Handle("SENTINEL GET-MASTER-ADDR-BY-NAME", redistest.InTurn(append(replies, pair(other.Addr()))...))
	one.Change(func(st *redistest.SentinelState) { st.Masters["mymaster"].Epoch = 2 })
	f.awaitServing(other.Addr())
	for _, v := range f.seen(0) {
		if v.Master == s.master.Addr() && v.Epoch != 1 {
			t.Errorf("the old address beside the new epoch: %+v", v)
		}
	}
}

// An event has all Sentinels polled at once, not only the one that said it.
func TestEventPolls(t *testing.T) {
	s := newStage(t, 3)
	other := redistest.NewScriptedNode(t)
	conf, fo := quick(s, 3)
	conf.PollInterval = config.Duration(time.Minute)
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	f.awaitSubscribed(3)
	for _, one := range s.sentinels[:2] {
		one.Change(func(st *redistest.SentinelState) {
			st.Masters["mymaster"].Addr, st.Masters["mymaster"].Epoch = other.Addr(), 2
		})
	}
	s.sentinels[2].Publish("+sdown", "slave x 10.0.0.9 6379 @ mymaster 10.0.0.1 6379")
	f.awaitServing(other.Addr())
}

// A switch is followed from its event, and the leader's listing of the old
// address beside the new epoch misleads nobody.
func TestSwitch(t *testing.T) {
	s := newStage(t, 3)
	other := redistest.NewScriptedNode(t)
	conf, fo := quick(s, 3)
	f := follow(t, conf, fo, config.Login{}, nil)
	before := f.awaitServing(s.master.Addr())
	f.awaitSubscribed(3)
	s.sentinels[0].Change(func(st *redistest.SentinelState) {
		m := st.Masters["mymaster"]
		m.Addr, m.Listed, m.Epoch = other.Addr(), s.master.Addr(), 2
		m.Flags, m.Fields = "master,failover_in_progress", map[string]string{"failover-state": "reconf_slaves"}
	})
	after := f.awaitServing(other.Addr())
	s.sentinels[1].Switch("mymaster", other.Addr(), 2)
	s.sentinels[2].Switch("mymaster", other.Addr(), 2)
	eventually(t, "all name the new master", func() bool {
		return !slices.ContainsFunc(f.group.Stats().Sentinels, func(s SentinelStats) bool { return s.Masters[0].Epoch != 2 })
	})
	if v := f.tracker.View(); v != after || after.Seq <= before.Seq {
		t.Errorf("%+v after %+v", v, after)
	}
}

// Run ends with its context, whatever hangs, and leaves nothing running.
func TestRunEnds(t *testing.T) {
	s := newStage(t, 3)
	conf, fo := quick(s, 3)
	conf.Timeout = config.Duration(time.Minute)
	g := New(conf, fo, map[string]config.Login{"mymaster": {}, "other": {}}, config.ClientTLS{}, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	eventually(t, "it serves", func() bool { return g.Tracker("mymaster").View().Serving() })
	s.sentinels[0].Silence(true)
	s.sentinels[1].Handle("SENTINEL MASTER", redistest.Hang)
	s.master.Handle("HELLO", redistest.Hang)
	polls, probes := s.sentinels[1].Count("SENTINEL MASTER"), s.master.Count("HELLO")
	eventually(t, "everything hangs", func() bool {
		return s.sentinels[1].Count("SENTINEL MASTER") > polls && s.master.Count("HELLO") > probes
	})
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it runs on")
	}
	eventually(t, "no goroutine is left", func() bool {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		return !strings.Contains(stacks.String(), "go-redis") && !strings.Contains(stacks.String(), "sentinel.(*watcher)") &&
			!strings.Contains(stacks.String(), "sentinel.(*Tracker)") && !strings.Contains(stacks.String(), "sentinel.ping")
	})
}

// The address map is for the masters and for the Sentinels.
func TestAddressMap(t *testing.T) {
	s := newStage(t, 2)
	for i, one := range s.sentinels {
		one.Change(func(st *redistest.SentinelState) {
			m := st.Masters["mymaster"]
			m.Addr = "192.0.2.1:6379"
			m.Sentinels = []redistest.PeerState{{Addr: fmt.Sprintf("192.0.2.%d:26379", 10+1-i), ID: fmt.Sprintf("id%d", 1-i)}}
		})
	}
	conf, fo := quick(s, 1)
	conf.AddressMap = map[string]string{
		"192.0.2.1:6379":   s.master.Addr(),
		"192.0.2.11:26379": s.sentinels[1].Addr(),
		"192.0.2.10:26379": s.sentinels[0].Addr(),
	}
	f := follow(t, conf, fo, config.Login{}, nil)
	f.awaitServing(s.master.Addr())
	f.awaitSubscribed(2)
}
