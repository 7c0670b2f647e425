//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
)

// figures of a run; NaN where one does not apply.

func throughput(a run) float64 {
	if a.Seconds == 0 {
		return math.NaN()
	}
	return a.PerSecond
}

// With no command answered there is neither a latency nor a cost of one.

func p50(a run) float64        { return a.each(a.P50) }
func p99(a run) float64        { return a.each(a.P99) }
func p999(a run) float64       { return a.each(a.P999) }
func redisCPU(a run) float64   { return a.each(a.Redis) }
func generators(a run) float64 { return a.each(a.Generator) }

func proxyCPU(a run) float64 {
	if a.Proxy == 0 {
		return math.NaN()
	}
	return a.each(a.Proxy)
}

func (a run) each(v float64) float64 {
	if a.Commands == 0 {
		return math.NaN()
	}
	return v
}

func allocations(a run) float64 {
	if a.Allocs == nil {
		return math.NaN()
	}
	return *a.Allocs
}

// ofIdle is a figure of a proxy's idle connections.
func ofIdle(of func(*idle) float64) func(run) float64 {
	return func(a run) float64 {
		if a.Idle == nil || !a.Idle.Proxied {
			return math.NaN()
		}
		return of(a.Idle)
	}
}

var (
	memoryPerIdle = ofIdle(func(i *idle) float64 { return i.KiBPerClient })
	fdsPerIdle    = ofIdle(func(i *idle) float64 { return i.FdsPerClient })
)

// beside is the run of another endpoint in the same round of the same class.
func (r *report) beside(a run, endpoint string) (run, bool) {
	i := slices.IndexFunc(r.Runs, func(b run) bool {
		return b.Class == a.Class && b.Round == a.Round && b.Endpoint == endpoint
	})
	if i < 0 {
		return run{}, false
	}
	return r.Runs[i], true
}

// versus is the ratio to another endpoint in the same round: what disturbs the
// machine for longer than a round disturbs both.
func (r *report) versus(endpoint string, of func(run) float64) func(run) float64 {
	return func(a run) float64 {
		if b, ok := r.beside(a, endpoint); ok && of(b) > 0 {
			return of(a) / of(b)
		}
		return math.NaN()
	}
}

// line is one figure of a class' table, for all endpoints; bare ones are
// figures, the others ratios to an endpoint for which of is one.
type line struct {
	name string
	of   func(run) float64
}

func (r *report) lines(c class) []line {
	var lines []line
	if c.idle > 0 {
		lines = idleLines()
	}
	ratio := func(endpoint string, of func(run) float64) line {
		return line{"  x " + endpoint, r.versus(endpoint, of)}
	}
	return append(lines, []line{
		{"commands/s", throughput},
		ratio(direct, throughput),
		ratio(haproxy1, throughput),
		{"p50 us", p50},
		ratio(direct, p50),
		{"p99 us", p99},
		ratio(direct, p99),
		{"p99.9 us", p999},
		{"proxy CPU us/command", proxyCPU},
		ratio(haproxy1, proxyCPU),
		ratio(twemproxy, proxyCPU),
		ratio(floorName, proxyCPU),
		{"proxy allocations/command", allocations},
		{"Redis CPU us/command", redisCPU},
		ratio(direct, redisCPU),
		{"generator CPU us/command", generators},
		{"cores: proxy", func(a run) float64 { return a.ProxyCores }},
		{"cores: Redis", func(a run) float64 { return a.RedisCores }},
		{"cores: generator", func(a run) float64 { return a.Load }},
		{"cores: foreign", func(a run) float64 { return a.Foreign }},
	}...)
}

// idleLines stand before the others for classes with idle connections.
func idleLines() []line {
	return []line{
		{"idle connections", func(a run) float64 { return float64(a.Idle.Connections) }},
		{"proxy KiB/idle", memoryPerIdle},
		{"proxy descriptors/idle", fdsPerIdle},
		{"Redis descriptors/idle", func(a run) float64 { return a.Idle.RedisFds }},
		{"proxy RSS MiB, idle", ofIdle(func(i *idle) float64 { return float64(i.RSSAfter) / 1024 })},
		{"proxy RSS MiB, loaded", ofIdle(func(i *idle) float64 { return float64(i.RSSLoaded) / 1024 })},
		{"cores: proxy, all idle", ofIdle(func(i *idle) float64 { return i.StillCores })},
	}
}

// generatorFull is the load, in cores, from which on a single-threaded
// generator may be what limits a run.
const generatorFull = 0.9

// table shows the medians over the rounds of a class, and the errors summed;
// every endpoint that takes the class has a column.
func (r *report) table(c class, endpoints []endpoint) table {
	t := table{title: c.name + ": " + c.title, head: []string{""}}
	lines := r.lines(c)
	for _, l := range lines {
		t.rows = append(t.rows, []string{l.name})
	}
	t.rows = append(t.rows, []string{"errors"})
	for _, e := range endpoints {
		if !e.takes(c) {
			t.notes = append(t.notes, fmt.Sprintf("%s is left out: %s", e.name, e.lack(c)))
			continue
		}
		runs := r.of(c.name, e.name)
		if len(runs) == 0 {
			continue
		}
		t.head = append(t.head, e.name)
		for i, l := range lines {
			t.rows[i] = append(t.rows[i], figure(median(each(runs, l.of))))
		}
		faults, first := faultsOf(runs)
		t.rows[len(lines)] = append(t.rows[len(lines)], fmt.Sprint(faults))
		if faults > 0 {
			t.notes = append(t.notes, fmt.Sprintf("%s, round %d: %s", e.name, first.Round, first.Fault))
		}
		if load := median(each(runs, func(a run) float64 { return a.Load })); load >= generatorFull {
			t.notes = append(t.notes, fmt.Sprintf("%s: the generator used %.2f cores and may be the limit of its throughput", e.name, load))
		}
	}
	t.rows = slices.DeleteFunc(t.rows, empty)
	return t
}

// empty says whether a row applies to no endpoint.
func empty(row []string) bool {
	return !slices.ContainsFunc(row[1:], func(cell string) bool { return cell != missing })
}

func (r *report) of(class, endpoint string) []run {
	var runs []run
	for _, a := range r.Runs {
		if a.Class == class && a.Endpoint == endpoint {
			runs = append(runs, a)
		}
	}
	return runs
}

func each(runs []run, of func(run) float64) []float64 {
	v := make([]float64, len(runs))
	for i, a := range runs {
		v[i] = of(a)
	}
	return v
}

// faultsOf adds up the errors of runs and gives the first run that has any.
func faultsOf(runs []run) (n int64, first run) {
	for _, a := range runs {
		if n == 0 && a.Errors > 0 {
			first = a
		}
		n += a.Errors
	}
	return n, first
}
