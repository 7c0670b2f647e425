// Command chaos proves what is promised about failovers: it runs every fault
// several times and prints a table. It exits with 1 if a figure that has to be zero
// is not, and with 2 for wrong usage.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/chaos"
)

// options are the command line.
type options struct {
	faults   string
	runs     int
	clients  int
	endpoint string
	binary   string
	release  string
	duration time.Duration
	logs     string
	json     bool
}

func main() {
	var o options
	flag.StringVar(&o.faults, "faults", "all", "faults to run, separated by commas: "+strings.Join(names(), ","))
	flag.IntVar(&o.runs, "runs", 3, "runs of each fault")
	flag.IntVar(&o.clients, "clients", chaos.Troupe, "clients, at least")
	flag.StringVar(&o.endpoint, "endpoint", "holdfast", "what to judge: holdfast, direct, naive, haproxy")
	flag.StringVar(&o.binary, "holdfast", "bin/holdfast", "the holdfast binary")
	flag.StringVar(&o.release, "release", "confirmed", "holdfast's failover.release: confirmed, promoted")
	flag.DurationVar(&o.duration, "duration", 0, "how long the clients go on after a fault (0: until the cluster is whole again, and a second)")
	flag.StringVar(&o.logs, "logs", "", "directory for the endpoint's log of each run")
	flag.BoolVar(&o.json, "json", false, "print all verdicts as JSON instead of the table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(o.main(ctx))
}

func names() (all []string) {
	for _, f := range chaos.Faults {
		all = append(all, f.Name)
	}
	return all
}

func (o options) main(ctx context.Context) int {
	faults, err := o.chosen()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	endpoint, err := o.front()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	results := o.run(ctx, faults, endpoint)
	if err := o.print(results); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	if slices.ContainsFunc(results, func(r chaos.Result) bool { return !r.OK() }) {
		return 1
	}
	return 0
}

// chosen returns the faults to run: all of them without f0, or those named.
func (o options) chosen() ([]chaos.Fault, error) {
	if o.faults == "all" {
		return chaos.Faults[1:], nil
	}
	var faults []chaos.Fault
	for name := range strings.SplitSeq(o.faults, ",") {
		i := slices.IndexFunc(chaos.Faults, func(f chaos.Fault) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no fault is called %q; there are %s", name, strings.Join(names(), ", "))
		}
		faults = append(faults, chaos.Faults[i])
	}
	return faults, nil
}

func (o options) front() (chaos.Endpoint, error) {
	if o.release != "confirmed" && o.release != "promoted" {
		return nil, fmt.Errorf("release %q is neither confirmed nor promoted", o.release)
	}
	switch o.endpoint {
	case "holdfast":
		return chaos.Holdfast(o.binary, o.release), nil
	case "direct":
		return chaos.Direct, nil
	case "naive":
		return chaos.Naive, nil
	case "haproxy":
		return chaos.HAProxy, nil
	}
	return nil, fmt.Errorf("no endpoint is called %q; there are holdfast, direct, naive, haproxy", o.endpoint)
}

// run runs everything, and says on the way how it goes.
func (o options) run(ctx context.Context, faults []chaos.Fault, endpoint chaos.Endpoint) []chaos.Result {
	var results []chaos.Result
	for _, f := range faults {
		r := chaos.Result{Fault: f, Release: o.release}
		for i := 1; i <= o.runs && ctx.Err() == nil; i++ {
			v, err := o.once(ctx, f, endpoint, i)
			if err != nil {
				r.Failures = append(r.Failures, err)
				fmt.Fprintf(os.Stderr, "%s run %d of %d: %v\n", f.Name, i, o.runs, err)
				continue
			}
			r.Verdicts = append(r.Verdicts, v)
			fmt.Fprintf(os.Stderr, "%s run %d of %d: %s\n", f.Name, i, o.runs, summary(v.Failed(f, o.release)))
		}
		results = append(results, r)
	}
	return results
}

func summary(failed []string) string {
	if len(failed) == 0 {
		return "ok"
	}
	return "FAIL: " + strings.Join(failed, ", ")
}

// longest bounds one run; ten planned failovers take about a minute.
const longest = 5 * time.Minute

func (o options) once(ctx context.Context, f chaos.Fault, endpoint chaos.Endpoint, run int) (*chaos.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	log := io.Discard
	if o.logs != "" {
		file, err := os.Create(filepath.Join(o.logs, fmt.Sprintf("%s-%d.log", f.Name, run)))
		if err != nil {
			return nil, err
		}
		defer file.Close()
		log = file
	}
	return chaos.Run(ctx, chaos.Config{Fault: f, Endpoint: endpoint, Clients: o.clients, Duration: o.duration, Log: log})
}

func (o options) print(results []chaos.Result) error {
	if !o.json {
		return chaos.Table(os.Stdout, results)
	}
	all := []*chaos.Verdict{}
	for _, r := range results {
		all = append(all, r.Verdicts...)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(all)
}
