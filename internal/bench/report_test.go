//go:build linux

package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// outcomeOf is a run of one second.
func outcomeOf(commands int64, proxy time.Duration) outcome {
	return outcome{commands: commands, served: commands, mallocs: float64(commands) / 4, p50: 500 * time.Microsecond,
		usage: usage{wall: time.Second, proxy: proxy, redis: 400 * time.Millisecond, generator: 250 * time.Millisecond}}
}

// cell is what stands in a class' table; of rows of one name the nth (from 0).
func cell(t *testing.T, tab table, endpoint, name string, nth int) string {
	t.Helper()
	column := slices.Index(tab.head, endpoint)
	if column < 0 {
		t.Fatalf("no column %q in %q", endpoint, tab.head)
	}
	for _, row := range tab.rows {
		if strings.TrimSpace(row[0]) != name {
			continue
		}
		if nth == 0 {
			return row[column]
		}
		nth--
	}
	t.Fatalf("no such row: %q", name)
	return ""
}

func TestReportTakesRatiosWithinARound(t *testing.T) {
	c := classes[1]
	ends := []endpoint{{name: direct}, {name: haproxy1, program: "x"}, {name: shared, program: "x", holdfast: true}}
	var r report
	// The machine is twice as slow in round 1, for all alike, and in round 2 holdfast has an error.
	for round, slow := range []int64{1, 2, 1} {
		used := time.Duration(slow) * time.Second / 2
		r.Runs = append(r.Runs,
			newRun(c, ends[0], round, outcomeOf(100_000/slow, 0)),
			newRun(c, ends[1], round, outcomeOf(50_000/slow, used)),
			newRun(c, ends[2], round, outcomeOf(80_000/slow, used)))
	}
	r.Runs[8].Errors, r.Runs[8].Fault = 2, "closed"
	barred := endpoint{name: "barred", lacks: []func(class) string{
		func(class) string { return "no" }, func(class) string { return "" }, func(class) string { return "never" },
	}}
	tab := r.table(c, append(ends, endpoint{name: "absent"}, barred))
	for _, want := range []struct {
		endpoint, row string
		nth           int
		text          string
	}{
		{direct, "commands/s", 0, "100000"}, {direct, "x direct", 0, "1.00"}, {direct, "proxy CPU us/command", 0, "-"}, {direct, "x haproxy-1t", 1, "-"},
		{direct, "p50 us", 0, "500"}, {direct, "Redis CPU us/command", 0, "4.00"}, {direct, "generator CPU us/command", 0, "2.50"},
		{direct, "cores: generator", 0, "0.25"}, {direct, "cores: Redis", 0, "0.40"}, {direct, "proxy allocations/command", 0, "-"},
		{haproxy1, "x direct", 0, "0.50"}, {haproxy1, "proxy CPU us/command", 0, "10.0"}, {haproxy1, "x haproxy-1t", 1, "1.00"}, {haproxy1, "errors", 0, "0"},
		{shared, "x direct", 0, "0.80"}, {shared, "x haproxy-1t", 0, "1.60"}, {shared, "proxy CPU us/command", 0, "6.25"},
		{shared, "x haproxy-1t", 1, "0.62"}, {shared, "proxy allocations/command", 0, "0.25"}, {shared, "errors", 0, "2"},
	} {
		if got := cell(t, tab, want.endpoint, want.row, want.nth); got != want.text {
			t.Errorf("%s of %s = %q, want %q", want.row, want.endpoint, got, want.text)
		}
	}
	if len(tab.head) != 4 || !slices.Equal(tab.notes, []string{shared + ", round 2: closed", "barred is left out: no; never"}) || r.errors() != 2 {
		t.Errorf("columns %q, notes %q, %d errors", tab.head, tab.notes, r.errors())
	}
}

func TestReportTellsOfAFullGenerator(t *testing.T) {
	o := outcomeOf(1000, 0)
	o.usage.generator = 950 * time.Millisecond
	r := report{Runs: []run{newRun(classes[0], endpoint{name: direct}, 0, o)}}
	if notes := r.table(classes[0], []endpoint{{name: direct}}).notes; len(notes) != 1 || !strings.Contains(notes[0], "the generator used 0.95 cores") {
		t.Errorf("notes %q", notes)
	}
}

func TestReportOfIdleConnections(t *testing.T) {
	c := idleClass("idle", 1000)
	e := endpoint{name: "mine", program: "x"}
	cost := idleCost{opened: 500, busy: outcome{errors: 1, fault: "full"}, still: usage{wall: time.Second, proxy: 20 * time.Millisecond}}
	cost.before = footing{proxy: footprint{rss: 1024, anon: 500, fds: 10}, redis: footprint{fds: 7}}
	cost.after = footing{proxy: footprint{rss: 2048, anon: 1500, fds: 1010}, redis: footprint{fds: 507}}
	r := report{Runs: []run{newRun(c, e, 0, cost.busy), newRun(c, endpoint{name: direct}, 0, outcomeOf(1, 0))}}
	r.Runs[0].Idle, r.Runs[1].Idle = newIdle(e, cost), newIdle(endpoint{name: direct}, idleCost{opened: 1000})
	tab := r.table(c, []endpoint{{name: direct}, e})
	for row, want := range map[string]string{"idle connections": "500", "proxy KiB/idle": "2.05", "proxy descriptors/idle": "2.00",
		"Redis descriptors/idle": "1.00", "proxy RSS MiB, idle": "2.00", "cores: proxy, all idle": "0.02", "commands/s": "-"} {
		if got := cell(t, tab, "mine", row, 0); got != want {
			t.Errorf("%s = %q, want %q", row, got, want)
		}
	}
	if got := cell(t, tab, direct, "proxy KiB/idle", 0); got != missing {
		t.Errorf("memory per client of no proxy = %q", got)
	}
	path := filepath.Join(t.TempDir(), "raw.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil || back.Runs[0].Idle.FdsPerClient != 2 || back.Runs[0].Fault != "full" {
		t.Errorf("read back %+v, %v", back.Runs, err)
	}
}

// reportOf has one run of each endpoint per element of its figures: commands per
// second and cores of foreign load.
func reportOf(class string, figures map[string][][2]float64) *report {
	r := &report{}
	for name, rounds := range figures {
		for round, f := range rounds {
			r.Runs = append(r.Runs, run{Class: class, Endpoint: name, Round: round, Seconds: 1, Commands: 1,
				PerSecond: f[0], Foreign: f[1], Proxy: f[0]})
		}
	}
	return r
}

func TestVerdict(t *testing.T) {
	rate := target{class: "c", endpoint: "mine", base: "its", of: throughput, atLeast: true, limit: 0.8, aim: 1, timed: true}
	cost := target{class: "c", endpoint: "mine", base: "its", of: proxyCPU, limit: 0.5}
	for _, c := range []struct {
		name         string
		g            target
		mine, its    [][2]float64
		reached, met string
	}{
		{"met", rate, [][2]float64{{90, 0}}, [][2]float64{{100, 0}}, "0.90", "yes"},
		{"the aim", rate, [][2]float64{{110, 0}}, [][2]float64{{100, 0}}, "1.10", "yes, and the aim"},
		{"as printed", rate, [][2]float64{{79.6, 0}}, [][2]float64{{100, 0}}, "0.80", "yes"},
		{"missed", rate, [][2]float64{{79, 0}}, [][2]float64{{100, 0}}, "0.79", "no"},
		{"median", rate, [][2]float64{{10, 0}, {90, 0}, {95, 0}}, [][2]float64{{100, 0}, {100, 0}, {100, 0}}, "0.90 (0.10 to 0.95)", "yes"},
		{"a loud round does not count", rate, [][2]float64{{10, 0.2}, {90, 0}}, [][2]float64{{100, 0}, {100, 0.19}}, "0.90", "yes"},
		{"loud beside the other", rate, [][2]float64{{90, 0}}, [][2]float64{{100, 0.2}}, missing, "not comparable"},
		{"cost counts always", cost, [][2]float64{{50, 1}}, [][2]float64{{100, 1}}, "0.50", "yes"},
		{"cost", cost, [][2]float64{{51, 0}}, [][2]float64{{100, 0}}, "0.51", "no"},
		{"nothing there", cost, nil, [][2]float64{{100, 1}}, missing, "not measured"},
		{"nothing to compare with", cost, [][2]float64{{50, 1}}, nil, missing, "not measured"},
	} {
		r := reportOf("c", map[string][][2]float64{"mine": c.mine, "its": c.its})
		if reached, met := r.verdict(c.g); reached != c.reached || met != c.met {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, reached, met, c.reached, c.met)
		}
	}
	r := reportOf("c", map[string][][2]float64{"mine": {{50, 0}}, "its": {{100, 0}}})
	r.Runs[0].Errors = 1
	if _, met := r.verdict(cost); met != "not measured" {
		t.Errorf("a run with errors was believed: %q", met)
	}
}

func TestTargetsNameClassesAndEndpointsThatExist(t *testing.T) {
	ends := endpointTable("", "")
	for _, g := range targets {
		if _, err := chooseClasses(g.class); err != nil {
			t.Errorf("%v: %v", g, err)
		}
		for _, name := range []string{g.endpoint, g.base} {
			if name != "" && !slices.ContainsFunc(ends, func(e endpoint) bool { return e.name == name }) {
				t.Errorf("%v: no endpoint %q", g, name)
			}
		}
		if rounded(g.limit) != g.limit || rounded(g.aim) != g.aim {
			t.Errorf("%v: is not printed in full", g)
		}
	}
	tab := (&report{}).targetTable()
	if len(tab.rows) != len(targets) || tab.rows[0][2] != "not measured" ||
		tab.rows[0][0] != "holdfast-shared, c50: CPU per command <= 0.50 x haproxy-1t (aim 0.35)" {
		t.Errorf("%d rows, the first %q", len(tab.rows), tab.rows[0])
	}
}

func TestAllocationsOfNothingAreNotAFigure(t *testing.T) {
	if v := allocations(newRun(classes[0], endpoint{name: shared, holdfast: true}, 0, outcome{})); !math.IsNaN(v) {
		t.Errorf("allocations = %v", v)
	}
}

func TestChoice(t *testing.T) {
	some, err := chooseClasses("c50,idle15k")
	if err != nil || len(some) != 2 || some[0].name != "c50" || some[1].idle != 15_000 {
		t.Errorf("chooseClasses = %+v, %v", some, err)
	}
	if all, err := chooseClasses(""); err != nil || len(all) != len(classes) {
		t.Errorf("%d classes by default, %v", len(all), err)
	}
	if _, err := chooseClasses("c50,nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("a class that does not exist: %v", err)
	}
	table := endpointTable("/nonexistent/holdfast", "/nonexistent/bench")
	if _, _, err := chooseEndpoints(table, "direct,holdfast-dedicated"); err == nil {
		t.Error("a named endpoint without its program was accepted")
	}
	if _, _, err := chooseEndpoints(table, "nothing"); err == nil {
		t.Error("an endpoint that does not exist was accepted")
	}
	chosen, left, err := chooseEndpoints(table, "")
	if err != nil || len(chosen) == 0 || chosen[0].name != direct || !strings.Contains(strings.Join(left, "\n"), dedicated) {
		t.Errorf("chosen %v, left out %q, %v", endpointNames(chosen), left, err)
	}
}
