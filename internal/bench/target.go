//go:build linux

package main

import (
	"fmt"
	"math"
)

// quiet is the foreign load, in cores, under which a ratio of throughput or
// latency counts. CPU per command is counted per process and counts always.
const quiet = 0.2

// target is a figure that the project wants of itself: of is taken of an
// endpoint's runs in a class, as a ratio to another endpoint's in the same
// round or, without one, as it is.
type target struct {
	name     string
	class    string
	endpoint string
	base     string // empty: no ratio
	of       func(run) float64
	atLeast  bool // the figure has to be the limit or more, else that or less
	limit    float64
	aim      float64 // better than the limit; 0: there is none
	timed    bool    // depends on who else uses the machine
}

const cpu = "CPU per command"

// targets in the order of the table. 64-byte GET unless said.
var targets = []target{
	{name: cpu, class: "c50", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.50, aim: 0.35},
	{name: cpu, class: "c500", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.50, aim: 0.35},
	{name: cpu, class: "p16", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.65, aim: 0.50},
	{name: cpu, class: "p100", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 1.2, aim: 1.0},
	{name: cpu, class: "open", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 1.0},
	{name: cpu, class: "64k", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.8},
	{name: cpu, class: "256k", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.8},
	{name: cpu, class: "1m", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.8},
	{name: cpu, class: "tls50", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.55, aim: 0.45},
	{name: cpu, class: "tls500", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.45, aim: 0.35},
	{name: cpu, class: "tls64k", endpoint: shared, base: haproxy1, of: proxyCPU, limit: 0.70, aim: 0.55},
	{name: "throughput", class: "c50", endpoint: shared, base: haproxy1, of: throughput, atLeast: true, limit: 1.9, timed: true},
	{name: "throughput", class: "c500", endpoint: shared, base: haproxy1, of: throughput, atLeast: true, limit: 2.2, timed: true},
	{name: "throughput", class: "p16", endpoint: shared, base: haproxy1, of: throughput, atLeast: true, limit: 1.2, timed: true},
	{name: cpu, class: "c50", endpoint: shared, base: twemproxy, of: proxyCPU, limit: 0.60},
	{name: cpu, class: "c500", endpoint: shared, base: twemproxy, of: proxyCPU, limit: 0.60},
	{name: cpu, class: "p16", endpoint: shared, base: twemproxy, of: proxyCPU, limit: 0.15},
	{name: "throughput", class: "c50", endpoint: shared, base: direct, of: throughput, atLeast: true, limit: 0.80, aim: 0.90, timed: true},
	{name: "throughput", class: "c500", endpoint: shared, base: direct, of: throughput, atLeast: true, limit: 1.0, aim: 1.3, timed: true},
	{name: "throughput", class: "p16", endpoint: shared, base: direct, of: throughput, atLeast: true, limit: 0.80, aim: 1.0, timed: true},
	{name: "throughput", class: "p100", endpoint: shared, base: direct, of: throughput, atLeast: true, limit: 0.95, aim: 1.0, timed: true},
	{name: "p99", class: "c500", endpoint: shared, base: direct, of: p99, limit: 1.0, timed: true},
	{name: "Redis' own CPU per command", class: "c500", endpoint: shared, base: direct, of: redisCPU, limit: 0.25},
	{name: cpu, class: "c50", endpoint: shared, base: floorName, of: proxyCPU, limit: 1.3, aim: 1.1},
	{name: cpu, class: "c500", endpoint: shared, base: floorName, of: proxyCPU, limit: 1.3, aim: 1.1},
	{name: "resident KiB per idle client", class: "idle5k", endpoint: shared, of: memoryPerIdle, limit: 0.5},
	{name: "resident KiB per idle client", class: "idle15k", endpoint: shared, of: memoryPerIdle, limit: 0.5},
	{name: "descriptors per client", class: "idle5k", endpoint: shared, of: fdsPerIdle, limit: 1},
	{name: "descriptors per client", class: "idle15k", endpoint: shared, of: fdsPerIdle, limit: 1},
	{name: cpu, class: "c50", endpoint: dedicated, base: haproxy1, of: proxyCPU, limit: 1.0},
	{name: cpu, class: "c500", endpoint: dedicated, base: haproxy1, of: proxyCPU, limit: 1.0},
	{name: "allocations per command", class: "c50", endpoint: shared, of: allocations, limit: 0},
	{name: "allocations per command", class: "p16", endpoint: shared, of: allocations, limit: 0},
}

// targetTable compares what was reached with what is wanted.
func (r *report) targetTable() table {
	t := table{title: "Targets", head: []string{"target", "figure reached", "met?"}}
	for _, g := range targets {
		reached, met := r.verdict(g)
		t.rows = append(t.rows, []string{g.String(), reached, met})
	}
	t.notes = append(t.notes,
		"A ratio is the median over the rounds, in brackets the lowest and the highest; it is compared as it is printed.",
		fmt.Sprintf("not comparable: in no round were both runs under a foreign load of %.1f cores; throughput and latency then say nothing.", quiet))
	return t
}

// String is the target in words: what, of which endpoint and class, and how much.
func (g target) String() string {
	text := fmt.Sprintf("%s, %s: %s", g.endpoint, g.class, g.name)
	sign, unit := "<=", ""
	if g.atLeast {
		sign = ">="
	}
	if g.base != "" {
		unit = " x " + g.base
	}
	text += fmt.Sprintf(" %s %s%s", sign, figure(g.limit), unit)
	if g.aim != 0 {
		text += fmt.Sprintf(" (aim %s)", figure(g.aim))
	}
	return text
}

// verdict is the figure that was reached, and whether that is enough.
func (r *report) verdict(g target) (reached, met string) {
	figures, loud := r.evidence(g)
	if len(figures) == 0 && loud {
		return missing, "not comparable"
	}
	if len(figures) == 0 {
		return missing, "not measured"
	}
	v := rounded(median(figures))
	reached = figure(v)
	if len(figures) > 1 {
		low, high := math.Inf(1), math.Inf(-1)
		for _, f := range figures {
			low, high = min(low, f), max(high, f)
		}
		reached += fmt.Sprintf(" (%s to %s)", figure(low), figure(high))
	}
	switch {
	case !g.reaches(v, g.limit):
		return reached, "no"
	case g.aim != 0 && g.reaches(v, g.aim):
		return reached, "yes, and the aim"
	}
	return reached, "yes"
}

func (g target) reaches(v, limit float64) bool {
	if g.atLeast {
		return v >= limit
	}
	return v <= limit
}

// rounded is to two decimals, as every limit is: a figure that is printed like
// its limit has reached it.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }

// evidence is a target's figure in every round that counts: one without an
// error and, if the figure depends on that, with the machine to itself. loud
// says that there were rounds which failed in the latter only.
func (r *report) evidence(g target) (figures []float64, loud bool) {
	of := g.of
	if g.base != "" {
		of = r.versus(g.base, g.of)
	}
	for _, a := range r.of(g.class, g.endpoint) {
		b, found := a, true
		if g.base != "" {
			b, found = r.beside(a, g.base)
		}
		if !found || a.Errors+b.Errors > 0 || math.IsNaN(of(a)) {
			continue
		}
		if g.timed && max(a.Foreign, b.Foreign) >= quiet {
			loud = true
			continue
		}
		figures = append(figures, of(a))
	}
	return figures, loud
}
