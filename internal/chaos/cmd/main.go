// Command chaos proves what is promised about failovers: it runs every fault
// several times and prints a table. It exits with 1 if a figure that has to be zero
// is not, and with 2 for wrong usage.
//
// It goes through all faults and settings before it begins the next run of each,
// so that a table that was interrupted shows them all. A run that fails is noted
// and does not stop the others.
package main

import (
	"context"
	"encoding/json"
	"errors"
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
	mode     string
	release  string
	duration time.Duration
	logs     string
	results  string
	show     string
}

func main() {
	var o options
	flag.StringVar(&o.faults, "faults", "all", "faults to run, separated by commas: "+strings.Join(names(), ","))
	flag.IntVar(&o.runs, "runs", 3, "runs of each fault and setting")
	flag.IntVar(&o.clients, "clients", chaos.Troupe, "clients, at least")
	flag.StringVar(&o.endpoint, "endpoint", "holdfast", "what to judge: holdfast, direct, naive, haproxy")
	flag.StringVar(&o.binary, "holdfast", "bin/holdfast", "the holdfast binary")
	flag.StringVar(&o.mode, "mode", "", "holdfast's listener mode: shared, dedicated, or both with a comma between (default: holdfast's own)")
	flag.StringVar(&o.release, "release", "confirmed", "holdfast's failover.release: confirmed, promoted, or both with a comma between")
	flag.DurationVar(&o.duration, "duration", 0, "how long the clients go on after a fault (0: until the cluster is whole again, and a second)")
	flag.StringVar(&o.logs, "logs", "", "directory for the logs of each run")
	flag.StringVar(&o.results, "results", "", "file to which each run is added as soon as it is over, a line of JSON each")
	flag.StringVar(&o.show, "show", "", "run nothing, and print the table of such a file")
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

// errUsage is wrong usage.
var errUsage = errors.New("wrong usage")

func (o options) main(ctx context.Context) int {
	ok, err := o.judge(ctx)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	case !ok:
		return 1
	}
	return 0
}

// judge makes the table, and says whether all is well.
func (o options) judge(ctx context.Context) (ok bool, err error) {
	var records []chaos.Record
	if o.show != "" {
		records, err = o.read()
	} else {
		records, err = o.produce(ctx)
	}
	if err != nil {
		return false, err
	}
	results := chaos.Results(records)
	if err := chaos.Table(os.Stdout, results); err != nil {
		return false, err
	}
	return len(results) > 0 && !slices.ContainsFunc(results, func(r chaos.Result) bool { return !r.OK() }), nil
}

func (o options) read() ([]chaos.Record, error) {
	file, err := os.Open(o.show)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return chaos.ReadRecords(file)
}

// chosen returns the faults to run: those named, or all but f0 that the endpoint
// can be put to.
func (o options) chosen() ([]chaos.Fault, error) {
	if o.faults == "all" {
		return slices.DeleteFunc(slices.Clone(chaos.Faults[1:]), func(f chaos.Fault) bool {
			return f.Own && o.endpoint != "holdfast"
		}), nil
	}
	var faults []chaos.Fault
	for name := range strings.SplitSeq(o.faults, ",") {
		i := slices.IndexFunc(chaos.Faults, func(f chaos.Fault) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: no fault is called %q; there are %s", errUsage, name, strings.Join(names(), ", "))
		}
		faults = append(faults, chaos.Faults[i])
	}
	return faults, nil
}

// settings returns what is to be judged.
func (o options) settings() (all []chaos.Setting, err error) {
	if !slices.Contains([]string{"holdfast", "direct", "naive", "haproxy"}, o.endpoint) {
		return nil, fmt.Errorf("%w: no endpoint is called %q; there are holdfast, direct, naive, haproxy", errUsage, o.endpoint)
	}
	for mode := range strings.SplitSeq(o.mode, ",") {
		if !slices.Contains([]string{"", "shared", "dedicated"}, mode) {
			return nil, fmt.Errorf("%w: mode %q is neither shared nor dedicated", errUsage, mode)
		}
		for release := range strings.SplitSeq(o.release, ",") {
			if release != "confirmed" && release != "promoted" {
				return nil, fmt.Errorf("%w: release %q is neither confirmed nor promoted", errUsage, release)
			}
			all = append(all, chaos.Setting{Endpoint: o.endpoint, Mode: mode, Release: release})
		}
	}
	return all, nil
}

func (o options) front(s chaos.Setting) chaos.Endpoint {
	switch s.Endpoint {
	case "direct":
		return chaos.Direct
	case "naive":
		return chaos.Naive
	case "haproxy":
		return chaos.HAProxy
	}
	return chaos.Holdfast(o.binary, s.Release, s.Mode)
}

// produce runs everything, or as much as ctx allows, and says on the way how it
// goes.
func (o options) produce(ctx context.Context) (records []chaos.Record, err error) {
	faults, err := o.chosen()
	if err != nil {
		return nil, err
	}
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	for run := 1; run <= o.runs; run++ {
		for _, f := range faults {
			for _, s := range settings {
				r := o.record(ctx, f, s, run)
				if ctx.Err() != nil {
					return records, nil // what was interrupted says nothing
				}
				if err := o.keep(r); err != nil {
					return nil, err
				}
				records = append(records, r)
			}
		}
	}
	return records, nil
}

// longest bounds one run; ten planned failovers take about a minute.
const longest = 5 * time.Minute

// record makes one run and tells how it went.
func (o options) record(ctx context.Context, f chaos.Fault, s chaos.Setting, run int) chaos.Record {
	r := chaos.Record{Setting: s, Fault: f.Name, Began: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	v, err := o.once(ctx, f, s, run)
	r.Took = time.Since(r.Began).Seconds()
	outcome := ""
	if r.Verdict = v; err != nil {
		r.Failure = err.Error()
		outcome = "no verdict: " + r.Failure
	} else {
		outcome = summary(v.Failed(f, s.Release))
	}
	fmt.Fprintf(os.Stderr, "%s %s%s run %d of %d, %.0f s: %s\n", f.Name, s.Release, dashed(s.Mode), run, o.runs, r.Took, outcome)
	return r
}

// dashed is "-mode", or nothing for the default.
func dashed(mode string) string {
	if mode == "" {
		return ""
	}
	return "-" + mode
}

func summary(failed []string) string {
	if len(failed) == 0 {
		return "ok"
	}
	return "FAIL: " + strings.Join(failed, ", ")
}

func (o options) once(ctx context.Context, f chaos.Fault, s chaos.Setting, run int) (*chaos.Verdict, error) {
	log := io.Discard
	if o.logs != "" {
		file, err := os.Create(filepath.Join(o.logs, fmt.Sprintf("%s-%s%s-%d.log", f.Name, s.Release, dashed(s.Mode), run)))
		if err != nil {
			return nil, err
		}
		defer file.Close()
		log = file
	}
	return chaos.Run(ctx, chaos.Config{Fault: f, Endpoint: o.front(s), Clients: o.clients, Duration: o.duration, Log: log})
}

// keep adds a run to the file of results.
func (o options) keep(r chaos.Record) error {
	if o.results == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(o.results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}
