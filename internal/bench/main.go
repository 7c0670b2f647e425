//go:build linux

// Command bench compares holdfast with other ways to one Redis: directly,
// through HAProxy and through twemproxy; and with a floor, the least that a loop
// of its kind can cost. It starts a throwaway Redis, a Sentinel and all proxies
// on the loopback, loads them in turn, prints one table per class of load as it
// finishes, and at the end what the project wants of itself beside what it reached.
//
// What makes the figures believable:
//   - All endpoints stand before the same Redis and are measured in turn within
//     every round; a ratio is taken within a round and the tables show medians.
//   - CPU time is the kernel's own count of nanoseconds (cpuTime), read at both
//     ends of the window in which the commands are counted.
//   - The load generator is this process: a single thread on epoll that does
//     nothing else in the window. What it costs, and how much of its core it
//     used, stands beside what the others cost; where it was near full, a note
//     says so.
//   - Every reply is checked against the one that had to come; a run with
//     errors is shown as such, counts for no target and makes the exit code 1.
//   - Foreign load, of processes that are not ours, is shown for every figure,
//     and a target of throughput or latency counts only while there is little.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The main goroutine stays on the main thread: see startProcess.
func init() { runtime.LockOSThread() }

func main() {
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = bench(ctx, o)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	server    string // redis-server
	window    time.Duration
	rounds    int
	classes   []class
	endpoints []endpoint
	missing   []string // endpoints that are left out, and why
	json      string
	floor     string // port; not empty: be that server
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := f.String("holdfast", "bin/holdfast", "the holdfast `program`")
	f.StringVar(&o.server, "redis", "redis-server", "the redis-server `program`; Sentinel is the same")
	f.DurationVar(&o.window, "duration", time.Second, "how long to measure one endpoint in one round, after a quarter of it to warm up")
	f.IntVar(&o.rounds, "rounds", 5, "how often all endpoints are measured; idle classes run once")
	quick := f.Bool("quick", false, "1 round of 200 ms: shows that everything works, not how fast it is")
	classList := f.String("classes", "", "comma `list`, of "+classNames())
	endpointList := f.String("endpoints", "", "comma `list`, of "+endpointNames(endpointTable("", "")))
	f.StringVar(&o.json, "json", "", "write the figures of every run to this `file`, anew after each class")
	f.StringVar(&o.floor, "floor", "", "measure nothing, answer a constant on this `port`: this is how the endpoint floor runs")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if *quick {
		o.window, o.rounds = 200*time.Millisecond, 1
	}
	if o.window < 10*time.Millisecond || o.rounds < 1 {
		return o, errors.New("-duration is at least 10ms and -rounds at least 1")
	}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	if o.classes, err = chooseClasses(*classList); err != nil {
		return o, err
	}
	o.endpoints, o.missing, err = chooseEndpoints(endpointTable(*binary, self), *endpointList)
	return o, err
}

// expected is about how long everything takes, opening and settling of
// connections included.
func (o options) expected() time.Duration {
	var sum time.Duration
	for _, c := range o.classes {
		for _, e := range o.endpoints {
			switch {
			case !e.takes(c):
			case c.idle > 0:
				sum += 2*o.window*5/4 + 4*time.Second + time.Duration(c.idle)*100*time.Microsecond
			default:
				sum += time.Duration(o.rounds) * (o.window*5/4 + 20*time.Millisecond)
			}
		}
	}
	return sum
}

// bench runs everything that was chosen and ends what it started.
func bench(ctx context.Context, o options) error {
	if o.floor != "" {
		return serveFloor(o.floor)
	}
	for _, m := range o.missing {
		fmt.Fprintln(os.Stderr, "bench:", m)
	}
	if err := prepare(); err != nil {
		return err
	}
	r, err := newRig(ctx, o.server, o.classes)
	if err != nil {
		return err
	}
	defer r.close()
	instances, err := startAll(ctx, r, o)
	if err != nil {
		return err
	}
	rep := newReport(o)
	rep.header(os.Stdout, o)
	for _, c := range o.classes {
		if err := rep.measure(ctx, r, c, o.rounds, o.window, instances); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := rep.table(c, o.endpoints).write(os.Stdout); err != nil {
			return err
		}
		if o.json == "" {
			continue
		}
		if err := rep.save(o.json); err != nil {
			return err
		}
	}
	if err := rep.targetTable().write(os.Stdout); err != nil {
		return err
	}
	if n := rep.errors(); n > 0 {
		return fmt.Errorf("%d errors: the figures of those runs are not to be believed", n)
	}
	return nil
}

// prepare raises the limit of descriptors, which our processes inherit: a
// pass-through proxy needs two per client.
func prepare() error {
	// An open loop sleeps for microseconds; by default the kernel adds up to 50.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack: %w", err)
	}
	const wanted = 65536
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	raised := unix.Rlimit{Cur: wanted, Max: max(wanted, limit.Max)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil { // above the hard limit: for the privileged only
		return nil
	}
	limit.Cur = min(wanted, limit.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	return nil
}

// startAll runs all endpoints side by side and has each show that it gives the
// right answers.
func startAll(ctx context.Context, r *rig, o options) ([]*instance, error) {
	var all []*instance
	for _, e := range o.endpoints {
		i, err := r.start(ctx, e)
		if err != nil {
			return nil, err
		}
		if err := i.verify(o.classes); err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// measure runs all rounds of one class. Every round begins with another
// endpoint, so that none always follows the same neighbour.
func (r *report) measure(ctx context.Context, rig *rig, c class, rounds int, window time.Duration, instances []*instance) error {
	if c.idle > 0 {
		rounds = 1
	}
	for round := range rounds {
		for k := range instances {
			i := instances[(k+round)%len(instances)]
			if !i.takes(c) {
				continue
			}
			a, err := measureOnce(ctx, rig, c, i, round, window)
			if err != nil {
				return fmt.Errorf("%s: %w", i.name, err)
			}
			r.Runs = append(r.Runs, a)
		}
	}
	return nil
}

func measureOnce(ctx context.Context, rig *rig, c class, i *instance, round int, window time.Duration) (run, error) {
	if c.idle == 0 {
		o, err := rig.measureBusy(ctx, i, c, window)
		return newRun(c, i.endpoint, round, o), err
	}
	cost, err := rig.measureIdle(ctx, i.endpoint, c, window)
	a := newRun(c, i.endpoint, round, cost.busy)
	a.Idle = newIdle(i.endpoint, cost)
	return a, err
}

func newReport(o options) *report {
	rep := &report{
		When: time.Now().UTC(), Cores: runtime.NumCPU(),
		Window: o.window.Seconds(), Rounds: o.rounds,
		Versions: map[string]string{"redis": version(o.server, "--version")},
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		rep.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	for _, e := range o.endpoints {
		if e.version != nil {
			rep.Versions[e.name] = version(e.program, e.version...)
		}
	}
	return rep
}

// version is the first line that a program says of itself.
func version(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if line == "" && err != nil {
		return err.Error()
	}
	return line
}

// header says what the tables cannot.
func (r *report) header(w io.Writer, o options) {
	fmt.Fprintf(w, "%s, Linux %s, %d cores; rounds of %v s: %d, medians; ratios are taken within a round. About %v.\n",
		r.When.Format(time.DateTime), r.Kernel, r.Cores, r.Window, r.Rounds, o.expected().Round(time.Second))
	fmt.Fprintf(w, "CPU time: the processes' CPU clocks, in the window of the measured commands.\n"+
		"cores: used in that window; generator near 1: it is the limit; foreign: by processes that are not ours.\n")
	fmt.Fprintf(w, "redis: %s\n", r.Versions["redis"])
	for _, e := range o.endpoints {
		if v, ok := r.Versions[e.name]; ok {
			fmt.Fprintf(w, "%s: %s\n", e.name, v)
		}
	}
	fmt.Fprintln(w)
}
