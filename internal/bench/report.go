//go:build linux

package main

import (
	"encoding/json"
	"os"
	"time"
)

// run is one endpoint under one class in one round, as it goes into the JSON
// file. Times are microseconds, memory is KiB. A per-command figure of a run
// without a single answer is 0 there.
type run struct {
	Class      string   `json:"class"`
	Endpoint   string   `json:"endpoint"`
	Round      int      `json:"round"`
	Seconds    float64  `json:"seconds"`
	Commands   int64    `json:"commands"`
	PerSecond  float64  `json:"per_second"`
	P50        float64  `json:"p50_us"`
	P99        float64  `json:"p99_us"`
	P999       float64  `json:"p999_us"`
	Max        float64  `json:"max_us"`
	Proxy      float64  `json:"proxy_cpu_us_per_command"`
	Redis      float64  `json:"redis_cpu_us_per_command"`
	Generator  float64  `json:"generator_cpu_us_per_command"`
	ProxyCores float64  `json:"proxy_cores"`
	RedisCores float64  `json:"redis_cores"`
	Load       float64  `json:"generator_cores"` // near 1: the generator is the bottleneck
	Foreign    float64  `json:"foreign_cores"`
	Allocs     *float64 `json:"proxy_allocations_per_command,omitempty"` // holdfast only
	Errors     int64    `json:"errors"`
	Fault      string   `json:"first_error,omitempty"`
	Idle       *idle    `json:"idle,omitempty"`
}

// idle is what the idle connections of a run held; direct has no proxy.
type idle struct {
	Connections  int     `json:"connections"`
	Proxied      bool    `json:"proxied"`
	KiBPerClient float64 `json:"proxy_kib_per_client"` // growth of the proxy's resident memory
	FdsPerClient float64 `json:"proxy_fds_per_client"`
	RedisFds     float64 `json:"redis_fds_per_client"`
	RSSBefore    int64   `json:"proxy_rss_before_kib"`
	RSSAfter     int64   `json:"proxy_rss_after_kib"`
	RSSLoaded    int64   `json:"proxy_rss_loaded_kib"` // after the busy clients beside them
	StillCores   float64 `json:"proxy_still_cores"`    // used while no client asked for anything
}

func newRun(c class, e endpoint, round int, o outcome) run {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	r := run{
		Class: c.name, Endpoint: e.name, Round: round,
		Seconds: o.usage.wall.Seconds(), Commands: o.commands,
		P50: us(o.p50), P99: us(o.p99), P999: us(o.p999), Max: us(o.max),
		Foreign: o.usage.foreign, Errors: o.errors, Fault: o.fault,
	}
	if wall := float64(o.usage.wall); wall > 0 {
		r.PerSecond = float64(o.commands) / r.Seconds
		r.ProxyCores, r.RedisCores = float64(o.usage.proxy)/wall, float64(o.usage.redis)/wall
		r.Load = float64(o.usage.generator) / wall
	}
	if n := float64(o.commands); n > 0 {
		r.Proxy, r.Redis, r.Generator = us(o.usage.proxy)/n, us(o.usage.redis)/n, us(o.usage.generator)/n
	}
	if e.holdfast && o.served > 0 {
		each := o.mallocs / float64(o.served)
		r.Allocs = &each
	}
	return r
}

func newIdle(e endpoint, cost idleCost) *idle {
	n := float64(max(cost.opened, 1))
	grown := func(after, before int64) float64 { return float64(after-before) / n }
	i := &idle{
		Connections:  cost.opened,
		Proxied:      e.program != "",
		KiBPerClient: grown(cost.after.proxy.rss, cost.before.proxy.rss),
		FdsPerClient: grown(int64(cost.after.proxy.fds), int64(cost.before.proxy.fds)),
		RedisFds:     grown(int64(cost.after.redis.fds), int64(cost.before.redis.fds)),
		RSSBefore:    cost.before.proxy.rss,
		RSSAfter:     cost.after.proxy.rss,
		RSSLoaded:    cost.loaded.proxy.rss,
	}
	if cost.still.wall > 0 {
		i.StillCores = float64(cost.still.proxy) / float64(cost.still.wall)
	}
	return i
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

// errors counts all runs' errors.
func (r *report) errors() (n int64) {
	for _, a := range r.Runs {
		n += a.Errors
	}
	return n
}
