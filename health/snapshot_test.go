package health

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

// noon is when all that is told here happened.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// inAges is when a certificate expires that is of no concern.
var inAges = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// world is what the floors below would say: all is well, after one failover.
type world struct {
	sentinel sentinel.Stats
	proxy    proxy.Stats
	routers  []vip.Stats
}

func calm() *world {
	const node, old = "10.0.0.2:6379", "10.0.0.1:6379"
	began := noon.Add(-time.Minute)
	w := &world{}
	for _, host := range []string{"10.0.1.1", "10.0.1.2", "10.0.1.3"} {
		w.sentinel.Sentinels = append(w.sentinel.Sentinels, sentinel.SentinelStats{
			Address: host + ":26379", ID: "id of " + host, Configured: host != "10.0.1.3",
			Connected: true, Subscribed: true, Since: noon.Add(-time.Hour), LastHeard: noon.Add(-300 * time.Millisecond),
			Polls: 3600, ErrorCount: 1, Events: 12,
			Masters: []sentinel.Report{{Name: "mymaster", Known: true, Address: node, Epoch: 7, Flags: "master", Quorum: 2}},
		})
	}
	w.sentinel.Masters = []sentinel.MasterStats{{
		View: sentinel.View{
			Name: "mymaster", Seq: 9, State: sentinel.Serving, Epoch: 7, Master: node,
			RunID: "f00d", Proven: true, Reason: "it proves its role", Since: noon.Add(-58900 * time.Millisecond),
		},
		KnownSentinels: 3, SightedSentinels: 3, NeededSentinels: 2,
		Replicas:         []sentinel.Replica{{Address: old, Flags: "slave", LinkUp: true, Offset: 100}},
		AttachedReplicas: 1, LastProof: noon, LastProbe: "role:master",
		Failovers: []sentinel.Failover{{
			From: old, To: node, Epoch: 7, Why: "a leader was elected", Began: began, Fenced: began,
			Selected: began.Add(78 * time.Millisecond), Promoted: began.Add(132 * time.Millisecond),
			Switched: began.Add(1090 * time.Millisecond), Served: began.Add(1100 * time.Millisecond),
		}},
		Views: 9, Moves: 1, Probes: map[string]uint64{"master": 3600, "silent": 0},
		Events: map[string]uint64{"+switch-master": 3}, Disbelieved: map[string]uint64{"older epoch": 1},
	}}
	w.proxy = proxy.Stats{
		Clients: 31, Upstreams: 31, Shared: 1, Connections: 4000, TurnedAway: 2,
		Listeners: []proxy.ListenerStats{{Address: "0.0.0.0:6379", Master: "mymaster", Mode: "dedicated", Clients: 31, Bound: true, TLS: &proxy.TLS{Failed: 3, Last: "remote error: tls: bad certificate", Expires: inAges}}},
		Masters: []proxy.MasterStats{{
			Name:    "mymaster",
			Carried: []proxy.Carried{{At: began.Add(time.Millisecond), From: old, To: node, Unserved: 1.1, Took: 1.2, Held: 30, Resent: 4, Uncertain: 1}},
			Counters: proxy.Counters{
				Accepted: 12345678, Answered: 12345670, Refused: map[string]uint64{"uncertain": 1, "expired": 0}, Cut: 2, InFlight: 5,
				Pins:   map[string]uint64{"transaction": 2, "watch": 0},
				Resent: 4, BytesIn: 700, BytesOut: 3 << 30, Holds: 30, HeldSeconds: 33,
				Closed: map[string]uint64{"done": 3969, "client": 0}, UpstreamsOpened: 4030, UpstreamsLost: 30, AttachFailed: 3,
			},
		}},
	}
	w.routers = []vip.Stats{{
		Name: "redis", Interface: "eth0", RouterID: 51, Version: 2, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")},
		Source: "10.0.0.1", State: vip.Master, Since: noon.Add(-time.Hour), Why: "no other was heard for 3.609s",
		Priority: vip.Priority{Configured: 100, Effective: 150},
		Peer:     &vip.Peer{Address: netip.MustParseAddr("10.0.0.2"), Priority: 100, Heard: noon.Add(-time.Hour)},
		Lease:    vip.Lease{Held: true, Lifetime: 2, Refreshed: noon.Add(-400 * time.Millisecond), LatenessMax: 0.0125},
		Sent:     3600, Received: 3, Announced: 1440,
		Rejected:    map[string]uint64{"password": 0, "ttl": 0},
		Failures:    map[string]uint64{"take": 0},
		Transitions: map[vip.State]int{vip.Backup: 1, vip.Master: 1},
		Alarms:      map[string]int{"two_owners": 0},
	}}
	return w
}

func (w *world) server() *Server {
	return New("127.0.0.1:0", Build{Version: "v1.2.3", Commit: "0123abc", Go: "go1.26"}, Below{
		Alive:    func(context.Context) error { return nil },
		Sentinel: func() sentinel.Stats { return w.sentinel },
		Proxy:    func() proxy.Stats { return w.proxy },
		Routers:  func() []vip.Stats { return w.routers },
	}, zerolog.New(io.Discard))
}

// master is what the floor of Sentinels says of the only master.
func (w *world) master() *sentinel.MasterStats { return &w.sentinel.Masters[0] }

// get asks the server of this world.
func (w *world) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	return ask(t, w.server(), http.MethodGet, path)
}

func ask(t *testing.T, s *Server, method, path string) (code int, body string) {
	t.Helper()
	answer := httptest.NewRecorder()
	s.routes.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
	return answer.Code, answer.Body.String()
}
