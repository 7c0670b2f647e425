package redistest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestScriptedNodeWithGoRedis(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			n := NewScriptedNode(t)
			n.Require("", "secret")
			stranger := redis.NewClient(&redis.Options{Addr: n.Addr(), Protocol: proto, MaxRetries: -1})
			defer stranger.Close()
			if err := stranger.Get(ctx, "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
				t.Errorf("without a password: %v", err)
			}
			if proto == 2 {
				n.Handle("HELLO", nil) // as before Redis 6
			}
			r := redis.NewClient(&redis.Options{Addr: n.Addr(), Password: "secret", Protocol: proto, DB: 1, ClientName: "me"})
			defer r.Close()
			useNode(ctx, t, n, r)
		})
	}
}

func useNode(ctx context.Context, t *testing.T, n *ScriptedNode, r *redis.Client) {
	if err := r.Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("a missing key: %v", err)
	}
	if err := r.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if got, err := r.Get(ctx, "k").Result(); err != nil || got != "v" || n.Data()["k"] != "v" {
		t.Errorf("GET %q, %v", got, err)
	}
	n.Change(func(st *NodeState) { st.Replicas, st.Offset = []string{"127.0.0.1:7"}, 42 })
	if got, err := r.Do(ctx, "ROLE").Result(); err != nil || fmt.Sprint(got) != "[master 42 [[127.0.0.1 7 42]]]" {
		t.Errorf("ROLE %v, %v", got, err)
	}
	if err := r.Do(ctx, "REPLICAOF", "127.0.0.1", "8").Err(); err != nil {
		t.Error(err)
	}
	if err := r.Set(ctx, "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
		t.Errorf("a write to a replica: %v", err)
	}
	if got, err := r.Do(ctx, "ROLE").Result(); err != nil || fmt.Sprint(got) != "[slave 127.0.0.1 8 connected 42]" {
		t.Errorf("ROLE %v, %v", got, err)
	}
	if got, err := r.Info(ctx, "replication").Result(); err != nil ||
		!strings.Contains(got, "\r\nrole:slave\r\nmaster_host:127.0.0.1\r\n") || !strings.Contains(got, "run_id:"+n.State().RunID) {
		t.Errorf("INFO %q, %v", got, err)
	}
	if got, err := r.Command(ctx).Result(); err != nil || !got["get"].ReadOnly || got["set"].ReadOnly {
		t.Errorf("COMMAND %v, %v", got, err)
	}
	if n.Count("CLIENT SETNAME") == 0 && n.Count("HELLO") == 0 || n.Count("SELECT 1") == 0 {
		t.Errorf("the session was not set up: %v", n.Commands())
	}
}

// watched is a scripted Sentinel in the middle of a failover that it leads.
func watched(t *testing.T) *ScriptedSentinel {
	s := NewScriptedSentinel(t)
	s.Change(func(st *SentinelState) {
		st.Masters["mymaster"] = &MasterState{
			Addr: "127.0.0.1:2", Listed: "127.0.0.1:1", Epoch: 7, Quorum: 2, RunID: newID(),
			Flags:     "master,failover_in_progress",
			Fields:    map[string]string{"failover-state": "reconf_slaves"},
			Replicas:  []PeerState{{Addr: "127.0.0.1:2", ID: newID(), Flags: "slave,promoted", Fields: map[string]string{"role-reported": "master"}}},
			Sentinels: []PeerState{{Addr: "127.0.0.1:3", ID: newID()}, {Addr: "127.0.0.1:4", ID: newID(), Flags: "s_down,sentinel"}},
		}
	})
	return s
}

func TestScriptedSentinelWithGoRedis(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			s := watched(t)
			s.Require("watcher", "secret")
			if proto == 2 {
				s.Handle("HELLO", nil)
			}
			r := redis.NewSentinelClient(&redis.Options{Addr: s.Addr(), Username: "watcher", Password: "secret", Protocol: proto})
			defer r.Close()
			askSentinel(ctx, t, r)
			listen(ctx, t, s, r)
			s.Handle("SENTINEL MASTER", Error("NOPERM this user has no permissions to run the 'sentinel|master' command"))
			if err := r.Master(ctx, "mymaster").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("a forbidden command: %v", err)
			}
		})
	}
}

func askSentinel(ctx context.Context, t *testing.T, r *redis.SentinelClient) {
	if got, err := r.GetMasterAddrByName(ctx, "mymaster").Result(); err != nil || !slices.Equal(got, []string{"127.0.0.1", "2"}) {
		t.Errorf("GET-MASTER-ADDR-BY-NAME %v, %v", got, err)
	}
	if err := r.GetMasterAddrByName(ctx, "nobody").Err(); err != redis.Nil {
		t.Errorf("an unknown master: %v", err)
	}
	if err := r.Master(ctx, "nobody").Err(); err == nil || err.Error() != "ERR No such master with that name" {
		t.Errorf("an unknown master: %v", err)
	}
	m, err := r.Master(ctx, "mymaster").Result()
	if err != nil || m["port"] != "1" || m["config-epoch"] != "7" || m["failover-state"] != "reconf_slaves" || m["num-other-sentinels"] != "2" {
		t.Errorf("MASTER %v, %v", m, err)
	}
	if got, err := r.Replicas(ctx, "mymaster").Result(); err != nil || len(got) != 1 || got[0]["role-reported"] != "master" || got[0]["master-port"] != "1" {
		t.Errorf("REPLICAS %v, %v", got, err)
	}
	if got, err := r.Sentinels(ctx, "mymaster").Result(); err != nil || len(got) != 2 || got[1]["flags"] != "s_down,sentinel" {
		t.Errorf("SENTINELS %v, %v", got, err)
	}
	if got, err := r.Masters(ctx).Result(); err != nil || len(got) != 1 {
		t.Errorf("MASTERS %v, %v", got, err)
	}
	if got, err := r.CkQuorum(ctx, "mymaster").Result(); err != nil || !strings.HasPrefix(got, "OK 2 usable") {
		t.Errorf("CKQUORUM %v, %v", got, err)
	}
}

// listen sees a switch as an event and then as an answer.
func listen(ctx context.Context, t *testing.T, s *ScriptedSentinel, r *redis.SentinelClient) {
	events := r.PSubscribe(ctx, "*")
	defer events.Close()
	if _, err := events.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitSubscriber(ctx, "*"); err != nil {
		t.Fatal(err)
	}
	s.Switch("mymaster", "127.0.0.1:9", 8)
	msg, err := events.ReceiveMessage(ctx)
	if err != nil || msg.Channel != "+switch-master" || msg.Payload != "mymaster 127.0.0.1 1 127.0.0.1 9" {
		t.Errorf("event %v, %v", msg, err)
	}
	if m, err := r.Master(ctx, "mymaster").Result(); err != nil || m["port"] != "9" || m["config-epoch"] != "8" {
		t.Errorf("MASTER after the switch %v, %v", m, err)
	}
}

// What scripted servers say has the shape of what real ones say: everything in
// it is known to them too, in the same order.
func TestScriptedServersLookReal(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{Replicas: 1, Sentinels: 2})
	s, n := watched(t), NewScriptedNode(t)
	s.Change(func(st *SentinelState) { st.Masters["mymaster"].Fields = nil })
	scripted := &Node{Name: "scripted Sentinel", Addr: s.Addr()}
	for _, what := range []string{"MASTER", "REPLICAS", "SENTINELS"} {
		real, fake := do(t, c.Sentinels[0], "SENTINEL", what, "mymaster"), do(t, scripted, "SENTINEL", what, "mymaster")
		if what != "MASTER" {
			real, fake = real.([]any)[0], fake.([]any)[0]
		}
		if got, want := keys(fake), keys(real); !slices.Equal(got, want) {
			t.Errorf("SENTINEL %s has\n%v\ninstead of\n%v", what, got, want)
		}
	}
	n.Change(func(st *NodeState) { st.Replicas = []string{"127.0.0.1:1"} })
	master := &Node{Name: "scripted master", Addr: n.Addr()}
	for _, args := range [][]any{{"ROLE"}, {"HELLO", 2}, {"AUTH", "x"}, {"AUTH", "x", "y"}, {"HELLO", 9}, {"GET"}, {"NONSENSE", "a", "b c"}} {
		real, err := c.Nodes[0].Do(ctx, args...)
		fake, err2 := master.Do(ctx, args...)
		if shape(real) != shape(fake) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("%v: %s, %v instead of %s, %v", args, shape(fake), err2, shape(real), err)
		}
	}
}

func keys(flat any) (list []string) {
	for i, e := range flat.([]any) {
		if i%2 == 0 {
			list = append(list, fmt.Sprint(e))
		}
	}
	return list
}

// shape is the types of a reply.
func shape(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(reflect.TypeOf(v))
	}
	var b strings.Builder
	for _, e := range list {
		b.WriteString(shape(e) + " ")
	}
	return "[" + b.String() + "]"
}
