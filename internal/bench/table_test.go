//go:build linux

package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTableIsAlignedMarkdown(t *testing.T) {
	var b strings.Builder
	err := table{
		title: "c1: one",
		head:  []string{"endpoint", "cmds/s", "µ"},
		rows:  [][]string{{"direct", "100000", "1.00"}, {"holdfast-dedicated", "9", "-"}},
		notes: []string{"direct, round 0: closed"},
	}.write(&b)
	want := `### c1: one

| endpoint           | cmds/s |    µ |
|--------------------|-------:|-----:|
| direct             | 100000 | 1.00 |
| holdfast-dedicated |      9 |    - |

* direct, round 0: closed

`
	if err != nil || b.String() != want {
		t.Errorf("got\n%s%v\nwant\n%s", b.String(), err, want)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.126: "0.13", 9.876: "9.88", 12.34: "12.3", 123.4: "123", 1234567: "1234567", -0.5: "-0.50",
		math.Inf(1): missing, math.NaN(): missing,
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{nan, 7, nan}, 7}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median([]float64{nan}); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v", got)
	}
}

// outcomeOf is a run of one second.
func outcomeOf(commands int64, proxy time.Duration) outcome {
	return outcome{commands: commands, p50: 500 * time.Microsecond,
		usage: usage{wall: time.Second, proxy: proxy, redis: 400 * time.Millisecond, generator: 250 * time.Millisecond}}
}

func TestReportTakesRatiosWithinARound(t *testing.T) {
	c := classes[1]
	ends := []endpoint{{name: "direct"}, {name: "haproxy", program: "x"}, {name: "mine", program: "x"}}
	var r report
	// The machine is twice as slow in round 1, for all alike, and in round 2 mine has an error.
	for round, slow := range []int64{1, 2, 1} {
		cpu := time.Duration(slow) * time.Second / 2
		r.Runs = append(r.Runs,
			newRun(c, ends[0], round, outcomeOf(100_000/slow, 0)),
			newRun(c, ends[1], round, outcomeOf(50_000/slow, cpu)),
			newRun(c, ends[2], round, outcomeOf(80_000/slow, cpu)))
	}
	r.Runs[8].Errors, r.Runs[8].Fault = 2, "closed"
	tab := r.table(c, append(ends, endpoint{name: "absent"}))
	cell := func(row int, column string) string {
		for i, h := range tab.head {
			if h == column {
				return tab.rows[row][i]
			}
		}
		t.Fatalf("no column %q in %q", column, tab.head)
		return ""
	}
	for _, want := range []struct {
		row          int
		column, text string
	}{
		{0, "endpoint", "direct"}, {0, "cmds/s", "100000"}, {0, "x direct", "1.00"}, {0, "proxy us/cmd", "-"}, {0, "x haproxy", "-"},
		{0, "p50 us", "500"}, {0, "Redis us/cmd", "4.00"}, {0, "gen us/cmd", "2.50"}, {0, "gen cores", "0.25"},
		{1, "x direct", "0.50"}, {1, "proxy us/cmd", "10.0"}, {1, "x haproxy", "1.00"}, {1, "errors", "0"},
		{2, "x direct", "0.80"}, {2, "proxy us/cmd", "6.25"}, {2, "x haproxy", "0.62"}, {2, "errors", "2"},
	} {
		if got := cell(want.row, want.column); got != want.text {
			t.Errorf("%s of row %d = %q, want %q", want.column, want.row, got, want.text)
		}
	}
	if len(tab.rows) != 3 || len(tab.notes) != 1 || tab.notes[0] != "mine, round 2: closed" || r.errors() != 2 {
		t.Errorf("%d rows, notes %q, %d errors", len(tab.rows), tab.notes, r.errors())
	}
}

func TestReportOfIdleConnections(t *testing.T) {
	c := idleClass("idle", 1000, false)
	e := endpoint{name: "mine", program: "x"}
	cost := idleCost{opened: 500, busy: outcome{errors: 1, fault: "full"}}
	cost.before = footing{proxy: footprint{rss: 1024, anon: 500, fds: 10}, redis: footprint{fds: 7}}
	cost.after = footing{proxy: footprint{rss: 2048, anon: 1500, fds: 1010}, redis: footprint{fds: 507}}
	r := report{Runs: []run{newRun(c, e, 0, cost.busy), newRun(c, endpoint{name: "direct"}, 0, outcomeOf(1, 0))}}
	r.Runs[0].Idle, r.Runs[1].Idle = newIdle(e, cost), newIdle(endpoint{name: "direct"}, idleCost{opened: 1000})
	tab := r.table(c, []endpoint{{name: "direct"}, e})
	if got := strings.Join(tab.rows[1][:9], " "); got != "mine 500 2.00 2.00 1.00 2.00 0.00 - -" {
		t.Errorf("row = %q", got)
	}
	if got := strings.Join(tab.rows[0][:4], " "); got != "direct 1000 - -" {
		t.Errorf("row = %q", got)
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

func TestChoice(t *testing.T) {
	some, err := chooseClasses("c50,idle15k", false)
	if err != nil || len(some) != 2 || some[0].name != "c50" || some[1].idle != 15_000 {
		t.Errorf("chooseClasses = %+v, %v", some, err)
	}
	short, _ := chooseClasses("", false)
	if long, err := chooseClasses("", true); err != nil || len(long) != len(classes) || len(short) >= len(long) {
		t.Errorf("%d classes with -long, %d without, %v", len(long), len(short), err)
	}
	if _, err := chooseClasses("c50,nothing", false); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("a class that does not exist: %v", err)
	}
	table := endpointTable("/nonexistent/holdfast")
	if _, _, err := chooseEndpoints(table, "direct,holdfast-dedicated"); err == nil {
		t.Error("a named endpoint without its program was accepted")
	}
	if _, _, err := chooseEndpoints(table, "nothing"); err == nil {
		t.Error("an endpoint that does not exist was accepted")
	}
	chosen, left, err := chooseEndpoints(table, "")
	if err != nil || len(chosen) == 0 || chosen[0].name != "direct" || !strings.Contains(strings.Join(left, "\n"), "holdfast-dedicated") {
		t.Errorf("chosen %v, left out %q, %v", endpointNames(chosen), left, err)
	}
}
