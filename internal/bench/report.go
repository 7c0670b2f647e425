//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"
)

// run is one endpoint under one class in one round, as it goes into the JSON
// file. Times are microseconds, memory is KiB. A per-command figure of a run
// without a single answer is 0 there.
type run struct {
	Class     string  `json:"class"`
	Endpoint  string  `json:"endpoint"`
	Round     int     `json:"round"`
	Seconds   float64 `json:"seconds"`
	Commands  int64   `json:"commands"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	Max       float64 `json:"max_us"`
	Proxy     float64 `json:"proxy_cpu_us_per_command"`
	Redis     float64 `json:"redis_cpu_us_per_command"`
	Generator float64 `json:"generator_cpu_us_per_command"`
	Load      float64 `json:"generator_cores"` // near 1: the generator is the bottleneck
	Foreign   float64 `json:"foreign_cores"`
	Errors    int64   `json:"errors"`
	Fault     string  `json:"first_error,omitempty"`
	Idle      *idle   `json:"idle,omitempty"`
}

// idle is what the idle connections of a run held; direct has no proxy.
type idle struct {
	Connections  int     `json:"connections"`
	Proxied      bool    `json:"proxied"`
	KiBPerClient float64 `json:"proxy_kib_per_client"` // growth of the proxy's anonymous memory
	FdsPerClient float64 `json:"proxy_fds_per_client"`
	RedisFds     float64 `json:"redis_fds_per_client"`
	RSSBefore    int64   `json:"proxy_rss_before_kib"`
	RSSAfter     int64   `json:"proxy_rss_after_kib"`
	RSSLoaded    int64   `json:"proxy_rss_loaded_kib"` // after the busy clients beside them
}

func newRun(c class, e endpoint, round int, o outcome) run {
	n := max(float64(o.commands), 1)
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	r := run{
		Class: c.name, Endpoint: e.name, Round: round,
		Seconds: o.usage.wall.Seconds(), Commands: o.commands,
		P50: us(o.p50), P99: us(o.p99), P999: us(o.p999), Max: us(o.max),
		Foreign: o.usage.foreign, Errors: o.errors, Fault: o.fault,
	}
	if o.usage.wall > 0 {
		r.PerSecond = float64(o.commands) / r.Seconds
		r.Load = float64(o.usage.generator) / float64(o.usage.wall)
	}
	if o.commands > 0 {
		r.Proxy, r.Redis, r.Generator = us(o.usage.proxy)/n, us(o.usage.redis)/n, us(o.usage.generator)/n
	}
	return r
}

func newIdle(e endpoint, cost idleCost) *idle {
	n := float64(max(cost.opened, 1))
	grown := func(after, before int64) float64 { return float64(after-before) / n }
	return &idle{
		Connections:  cost.opened,
		Proxied:      e.program != "",
		KiBPerClient: grown(cost.after.proxy.anon, cost.before.proxy.anon),
		FdsPerClient: grown(int64(cost.after.proxy.fds), int64(cost.before.proxy.fds)),
		RedisFds:     grown(int64(cost.after.redis.fds), int64(cost.before.redis.fds)),
		RSSBefore:    cost.before.proxy.rss,
		RSSAfter:     cost.after.proxy.rss,
		RSSLoaded:    cost.loaded.proxy.rss,
	}
}

// report is everything that was measured.
type report struct {
	When     time.Time         `json:"when"`
	Kernel   string            `json:"kernel"`
	Cores    int               `json:"cores"`
	Window   float64           `json:"window_seconds"`
	Rounds   int               `json:"rounds"`
	Versions map[string]string `json:"versions"`
	Runs     []run             `json:"runs"`
}

func (r *report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// column is one figure of the table; of is NaN where it does not apply.
type column struct {
	name string
	of   func(run) float64
}

// versus is the ratio to another endpoint in the same round: what disturbs the
// machine for longer than a round disturbs both. The table shows its median.
func (r *report) versus(endpoint string, of func(run) float64) func(run) float64 {
	return func(a run) float64 {
		for _, b := range r.Runs {
			if b.Class == a.Class && b.Round == a.Round && b.Endpoint == endpoint && of(b) > 0 {
				return of(a) / of(b)
			}
		}
		return math.NaN()
	}
}

func (r *report) columns(c class) []column {
	rate := func(a run) float64 {
		if a.Seconds == 0 {
			return math.NaN()
		}
		return a.PerSecond
	}
	// With no command answered there is neither a latency nor a cost of one.
	each := func(of func(run) float64) func(run) float64 {
		return func(a run) float64 {
			if a.Commands == 0 {
				return math.NaN()
			}
			return of(a)
		}
	}
	proxy := each(func(a run) float64 {
		if a.Proxy == 0 {
			return math.NaN()
		}
		return a.Proxy
	})
	var columns []column
	if c.idle > 0 {
		columns = idleColumns()
	}
	return append(columns, []column{
		{"cmds/s", rate},
		{"x direct", r.versus("direct", rate)},
		{"p50 us", each(func(a run) float64 { return a.P50 })},
		{"p99 us", each(func(a run) float64 { return a.P99 })},
		{"proxy us/cmd", proxy},
		{"x haproxy", r.versus("haproxy", proxy)},
		{"Redis us/cmd", each(func(a run) float64 { return a.Redis })},
		{"gen us/cmd", each(func(a run) float64 { return a.Generator })},
		{"gen cores", func(a run) float64 { return a.Load }},
		{"foreign", func(a run) float64 { return a.Foreign }},
	}...)
}

// idleColumns stand before the others for classes with idle connections.
func idleColumns() []column {
	proxied := func(of func(*idle) float64) func(run) float64 {
		return func(a run) float64 {
			if !a.Idle.Proxied {
				return math.NaN()
			}
			return of(a.Idle)
		}
	}
	return []column{
		{"idle", func(a run) float64 { return float64(a.Idle.Connections) }},
		{"KiB/idle", proxied(func(i *idle) float64 { return i.KiBPerClient })},
		{"fds/idle", proxied(func(i *idle) float64 { return i.FdsPerClient })},
		{"Redis fds/idle", func(a run) float64 { return a.Idle.RedisFds }},
		{"RSS MiB", proxied(func(i *idle) float64 { return float64(i.RSSAfter) / 1024 })},
		{"loaded MiB", proxied(func(i *idle) float64 { return float64(i.RSSLoaded) / 1024 })},
	}
}

// table shows the medians over the rounds of a class, and the errors summed.
func (r *report) table(c class, endpoints []endpoint) table {
	t := table{title: c.name + ": " + c.title, head: []string{"endpoint"}}
	columns := r.columns(c)
	for _, col := range columns {
		t.head = append(t.head, col.name)
	}
	t.head = append(t.head, "errors")
	for _, e := range endpoints {
		var errors int64
		figures := make([][]float64, len(columns))
		found := false
		for _, a := range r.Runs {
			if a.Class != c.name || a.Endpoint != e.name {
				continue
			}
			if a.Errors > 0 && errors == 0 {
				t.notes = append(t.notes, fmt.Sprintf("%s, round %d: %s", e.name, a.Round, a.Fault))
			}
			found = true
			errors += a.Errors
			for i, col := range columns {
				figures[i] = append(figures[i], col.of(a))
			}
		}
		if !found {
			continue
		}
		row := []string{e.name}
		for _, f := range figures {
			row = append(row, figure(median(f)))
		}
		t.rows = append(t.rows, append(row, fmt.Sprint(errors)))
	}
	return t
}

// errors counts all runs' errors.
func (r *report) errors() (n int64) {
	for _, a := range r.Runs {
		n += a.Errors
	}
	return n
}
