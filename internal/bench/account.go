//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time that a process has used so far, from its CPU clock
// (clock_getcpuclockid(3)): the scheduler's own nanoseconds, summed over all
// threads, those that have ended too, and running ones up to this moment.
// /proc/PID/stat counts the same in ticks of 10 ms, and /proc/PID/task/*/schedstat
// loses ended threads and is behind by up to a tick for a running one.
func cpuTime(pid int) (time.Duration, error) {
	const cpuClockSched = 2 // CPUCLOCK_SCHED in the kernel's posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// busyTime reads /proc/stat: the time that all cores together have been busy,
// for whomever. Time that the hypervisor stole counts as busy: it was not ours
// either. Its unit is the tick, 10 ms.
func busyTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(text)
}

// parseBusy adds up user, nice, system, irq, softirq and steal of the first
// line of /proc/stat; guest time is contained in user (proc_stat(5)).
func parseBusy(text []byte) (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// meter reads the clocks of everybody who takes part in a run.
type meter struct {
	proxy  int   // pid of the process under test; 0: the generator talks to Redis itself
	redis  int   // pid of the Redis behind it
	others []int // pids of our further processes, idle while this one is measured
}

// reading is the state of all clocks at one moment.
type reading struct {
	at                      time.Time
	proxy, redis, generator time.Duration
	others, busy            time.Duration
}

func (m *meter) read() (reading, error) {
	r := reading{at: time.Now()}
	var err error
	clock := func(pid int, into *time.Duration) {
		if pid == 0 || err != nil {
			return
		}
		var t time.Duration
		t, err = cpuTime(pid)
		*into += t
	}
	clock(m.proxy, &r.proxy)
	clock(m.redis, &r.redis)
	clock(os.Getpid(), &r.generator)
	for _, pid := range m.others {
		clock(pid, &r.others)
	}
	if err == nil {
		r.busy, err = busyTime()
	}
	return r, err
}

// usage is what was used between two readings.
type usage struct {
	wall                    time.Duration
	proxy, redis, generator time.Duration
	foreign                 float64 // cores used by processes that are not ours
}

func (r reading) since(start reading) usage {
	u := usage{
		wall:      r.at.Sub(start.at),
		proxy:     r.proxy - start.proxy,
		redis:     r.redis - start.redis,
		generator: r.generator - start.generator,
	}
	ours := u.proxy + u.redis + u.generator + r.others - start.others
	if u.wall > 0 {
		u.foreign = max(float64(r.busy-start.busy-ours)/float64(u.wall), 0)
	}
	return u
}

// footprint is what a process holds.
type footprint struct {
	rss, anon int64 // KiB; anon leaves out mapped files such as the program itself
	fds       int   // open descriptors
}

// near says that nothing moved but a few pages.
func (f footprint) near(g footprint) bool {
	const slack = 64 // KiB
	return f.fds == g.fds && max(f.anon-g.anon, g.anon-f.anon) <= slack
}

// footprintOf walks the page tables of a process (smaps_rollup), because the
// counters of /proc/PID/status are approximate on a machine with many cores.
func footprintOf(pid int) (footprint, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/smaps_rollup")
	if err != nil {
		return footprint{}, err
	}
	f, err := parseRollup(text)
	if err != nil {
		return footprint{}, err
	}
	fds, err := os.Open(dir + "/fd")
	if err != nil {
		return footprint{}, err
	}
	defer fds.Close()
	names, err := fds.Readdirnames(-1)
	f.fds = len(names)
	return f, err
}

// parseRollup takes Rss and Anonymous from smaps_rollup (proc_pid_smaps(5)).
func parseRollup(text []byte) (footprint, error) {
	var f footprint
	found := 0
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[2]) != "kB" {
			continue
		}
		var into *int64
		switch string(fields[0]) {
		case "Rss:":
			into = &f.rss
		case "Anonymous:":
			into = &f.anon
		default:
			continue
		}
		n, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return f, fmt.Errorf("smaps_rollup: %w", err)
		}
		*into = n
		found++
	}
	if found != 2 {
		return f, fmt.Errorf("smaps_rollup has no Rss or no Anonymous")
	}
	return f, nil
}
