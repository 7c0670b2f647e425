package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/sentinel"
)

func TestReady(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		want   string // "" for ready
	}{
		{"all is well", func(*world) {}, ""},
		{"draining", func(w *world) { w.proxy.Draining = true; w.proxy.Listeners[0].Bound = false }, "draining"},
		{"listener waits", func(w *world) { w.proxy.Listeners[0].Bound = false },
			"listener 0.0.0.0:6379 is not bound yet"},
		{"listener fails", func(w *world) {
			w.proxy.Listeners[0].Bound = false
			w.proxy.Listeners[0].Error = "address already in use"
		},
			"listener 0.0.0.0:6379 is not bound: address already in use"},
		{"fenced", func(w *world) {
			w.master().View.State = sentinel.Fenced
			w.master().View.Reason = "a leader was elected"
		},
			"master mymaster is not serving (fenced): a leader was elected"},
		{"the reason of now goes first", func(w *world) {
			w.master().View.State, w.master().View.Reason, w.master().Reason = sentinel.Doubt, "it is gone", "it says that it is a replica"
		}, "master mymaster is not serving (doubt): it says that it is a replica"},
		{"nothing known", func(w *world) { w.sentinel.Masters = nil }, "master mymaster is not serving (unknown)"},
		{"Sentinels cannot be spoken to", func(w *world) {
			for i := range w.sentinel.Sentinels {
				w.sentinel.Sentinels[i].Connected = false
			}
			w.sentinel.Sentinels[1].Error = "EOF (does it want TLS? sentinel.tls)"
			w.master().View = sentinel.View{Name: "mymaster", Reason: "no Sentinel has answered yet"}
		}, "master mymaster is not serving (unknown): no Sentinel has answered yet; Sentinel 10.0.1.2:26379: EOF (does it want TLS? sentinel.tls)"},
		{"two reasons", func(w *world) { w.proxy.Listeners[0].Bound = false; w.sentinel.Masters = nil },
			"listener 0.0.0.0:6379 is not bound yet\nmaster mymaster is not serving (unknown)"},
		{"Sentinels away, master served", func(w *world) {
			for i := range w.sentinel.Sentinels {
				w.sentinel.Sentinels[i].Connected = false
			}
			w.master().SightedSentinels = 0
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := calm()
			c.change(w)
			wantCode, want := http.StatusServiceUnavailable, c.want+"\n"
			if c.want == "" {
				wantCode, want = http.StatusOK, "ready\n"
			}
			if code, body := w.get(t, "/readyz"); code != wantCode || body != want {
				t.Errorf("got %d %q, want %d %q", code, body, wantCode, want)
			}
		})
	}
}

func TestAlive(t *testing.T) {
	s := calm().server()
	if code, body := ask(t, s, http.MethodGet, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("with loops that answer: %d %q", code, body)
	}
	s.below.Alive = func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the loops may be waited for without end")
		}
		return nil
	}
	if code, _ := ask(t, s, http.MethodGet, "/healthz"); code != http.StatusOK {
		t.Errorf("with loops that answer: %d", code)
	}
	s.below.Alive = func(context.Context) error { return errors.New("loop 1 of 2 does not answer") }
	if code, body := ask(t, s, http.MethodGet, "/healthz"); code != http.StatusServiceUnavailable || body != "loop 1 of 2 does not answer\n" {
		t.Errorf("with a stuck loop: %d %q", code, body)
	}
}

func TestOnlyReading(t *testing.T) {
	s := calm().server()
	for _, path := range []string{"/", "/healthz", "/readyz", "/status", "/metrics"} {
		if code, _ := ask(t, s, http.MethodPost, path); code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, code)
		}
	}
	if code, _ := ask(t, s, http.MethodGet, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an unknown path: %d", code)
	}
}

func TestStatus(t *testing.T) {
	_, body := calm().get(t, "/status")
	var st Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	m := st.Masters[0]
	switch {
	case !st.Ready, len(st.Troubles) != 0, st.Version != "v1.2.3", st.Proxy.TurnedAway != 2:
		t.Errorf("head: %+v", st)
	case m.Name != "mymaster", m.State != "serving", m.Epoch != 7, m.Address != "10.0.0.2:6379", m.Reason != "it proves its role":
		t.Errorf("master: %+v", m)
	case m.Traffic.Accepted != 12345678, m.Traffic.Refused["uncertain"] != 1:
		t.Errorf("traffic: %+v", m.Traffic)
	case st.Sentinels[2].Configured, st.Sentinels[0].Says[0].Epoch != 7:
		t.Errorf("Sentinels: %+v", st.Sentinels)
	}
	f := m.Failovers[0]
	if want := "fenced 0ms, selected 78ms, promoted 132ms, switched 1.1s, served 1.1s"; f.Story() != want {
		t.Errorf("story %q, want %q", f.Story(), want)
	}
	if f.Clients == nil || f.Clients.Held != 30 {
		t.Errorf("what the failover was to the clients: %+v", f.Clients)
	}
}

// A script that walks a list must find a list, if an empty one.
func TestStatusHasNoNull(t *testing.T) {
	w := &world{}
	w.proxy.Masters = calm().proxy.Masters
	w.proxy.Masters[0].Carried = nil
	if _, body := w.get(t, "/status"); strings.Contains(body, "null") {
		t.Error(body)
	}
}

func TestFailoverWithoutItsClients(t *testing.T) {
	w := calm()
	w.proxy.Masters[0].Carried[0].At = noon.Add(-time10)
	if f := w.server().status().Masters[0].Failovers[0]; f.Clients != nil {
		t.Errorf("the clients of another failover are told: %+v", f.Clients)
	}
}

func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		change func(*world)
		want   string
	}{
		{func(w *world) { w.master().SightedSentinels = 1 },
			"master mymaster: 1 of 3 Sentinels answer, a failover needs 2"},
		{func(w *world) { w.master().View.Proven = false; w.master().LastProbe = "NOAUTH" },
			"master mymaster serves on the Sentinels' word alone; its own word is missing: NOAUTH"},
		{func(w *world) { w.master().AttachedReplicas = 0 },
			"master mymaster has no replica attached: nobody could take over"},
		{func(w *world) { w.master().Losses = 1 },
			"master mymaster came back 1 times with an older or empty data set since the start"},
		{func(w *world) { w.proxy.Masters[0].Trouble = "WRONGPASS" },
			"master mymaster: clients cannot be attached: WRONGPASS"},
		{func(w *world) { w.proxy.Listeners[0].TLS.Expires = time.Now().Add(50*time.Hour + time.Minute) },
			"listener 0.0.0.0:6379: its TLS certificate expires in 2d2h"},
		{func(w *world) { w.proxy.Listeners[0].TLS.Expires = time.Now().Add(-2*time.Hour - 30*time.Second) },
			"listener 0.0.0.0:6379: its TLS certificate has expired 2h0m ago"},
		{func(w *world) { w.proxy.Listeners[0].TLS.Fault = "no PEM" },
			"listener 0.0.0.0:6379: its TLS certificate has changed and cannot be used, the one before stays in force: no PEM"},
		{func(w *world) { w.proxy.Masters[0].Unexpected = 1 },
			"master mymaster sent 1 replies that nobody waited for: a fault in holdfast or in the server, please report it"},
		{func(w *world) { w.sentinel.Sentinels[0].Error = "connection refused" },
			"Sentinel 10.0.1.1:26379: connection refused"},
		{func(w *world) { w.sentinel.Sentinels[0].Connected = false },
			"Sentinel 10.0.1.1:26379 has not answered yet"},
		{func(w *world) { w.sentinel.Sentinels[0].Subscribed = false },
			"Sentinel 10.0.1.1:26379 is polled, but its events do not arrive"},
		{func(w *world) { w.sentinel.Sentinels[0].Tilt = true },
			"Sentinel 10.0.1.1:26379 is in TILT: it distrusts its clock and does not act"},
		{func(w *world) { w.sentinel.Sentinels[0].Masters[0].Known = false },
			"Sentinel 10.0.1.1:26379 has no master called mymaster"},
		{func(w *world) { r := &w.sentinel.Sentinels[0].Masters[0]; r.Address, r.Epoch = "10.0.0.1:6379", 6 },
			"Sentinel 10.0.1.1:26379 names 10.0.0.1:6379 as mymaster in epoch 6; served is 10.0.0.2:6379 in epoch 7"},
	} {
		w := calm()
		c.change(w)
		if got := w.server().status().Troubles; !slices.Equal(got, []string{c.want}) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
