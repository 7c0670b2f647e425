package health

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"holdfast/vip"
)

// router is the only one.
func (w *world) router() *vip.Stats { return &w.routers[0] }

func TestRouterTroubles(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*vip.Stats)
		want   string
	}{
		"backup": {func(r *vip.Stats) { r.State = vip.Backup }, ""},
		"fault": {func(r *vip.Stats) { r.State, r.Why = vip.Fault, "interface eth0 is down" },
			"vip redis: this node cannot own 10.0.0.100: interface eth0 is down"},
		"rejected": {func(r *vip.Stats) { r.Rejected["ttl"], r.Rejected["password"] = 1, 20 },
			"vip redis: adverts were rejected since the start (password 20, ttl 1): whoever sends such may own the addresses beside another"},
		"alarm":   {func(r *vip.Stats) { r.Alarms["two_owners"] = 3 }, "vip redis: alarms since the start: two_owners 3"},
		"failure": {func(r *vip.Stats) { r.Failures["take"] = 1 }, "vip redis: the system refused since the start: take 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			c.change(w.router())
			st := w.server().status()
			if c.want == "" && len(st.Troubles) > 0 || c.want != "" && !slices.Contains(st.Troubles, c.want) {
				t.Errorf("%q, want %q", st.Troubles, c.want)
			}
			if !st.Ready {
				t.Error("who comes to this node can be served, whoever owns the addresses")
			}
		})
	}
}

// Scripts read it as it is; without virtual addresses nobody sees any of it.
func TestRoutersInStatus(t *testing.T) {
	w := calm()
	_, body := w.get(t, "/status")
	var st Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	if r := st.Routers[0]; r.State != vip.Master || !r.Lease.Held || r.Peer.Priority != 100 || r.Rejected["ttl"] != 0 {
		t.Errorf("%+v", r)
	}
	w.routers = nil
	if _, body := w.get(t, "/status"); !strings.Contains(body, `"vip": []`) {
		t.Error("no empty list in the status")
	}
	if _, body := w.get(t, "/"); strings.Contains(body, "Virtual addresses") {
		t.Error("the page has a table of nothing")
	}
	if _, body := w.get(t, "/metrics"); strings.Contains(body, "holdfast_vip_") {
		t.Error("there are metrics of nothing")
	}
	var text strings.Builder
	if err := w.server().status().WriteText(&text); err != nil || strings.Contains(text.String(), "vip") {
		t.Errorf("%v %s", err, text.String())
	}
}
