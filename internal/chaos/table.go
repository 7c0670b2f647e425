package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is all runs of one fault with one setting.
type Result struct {
	Setting
	Fault    Fault
	Verdicts []*Verdict
	Failures []error // runs without a verdict

	took float64 // seconds, all runs together
}

// OK says whether every run gave a verdict, and no figure that has to be zero is
// not.
func (r Result) OK() bool {
	return len(r.Failures) == 0 && !slices.ContainsFunc(r.Verdicts, func(v *Verdict) bool {
		return len(v.Failed(r.Fault, r.Release)) != 0
	})
}

// Table prints one line per fault and setting: the kept gap to reach, its median
// and its worst, how much of the median is after the promotion, the worst latency,
// and the sums of all figures that have to be zero. A figure that is not is marked
// with "!", or with "~" where the fault excuses it.
func Table(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "fault\trelease\tmode\truns\tacked\tgoal ms\tkept gap ms\tworst\tpromoted to kept ms\tslowest ms\t"
	for _, c := range Columns {
		head += c.Name + "\t"
	}
	fmt.Fprintln(t, head+"gap msgs\tverdict\t  ")
	for _, r := range results {
		fmt.Fprintln(t, r.line())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	took := 0.0
	for _, r := range results {
		took += r.took
		if _, err := io.WriteString(w, r.Remarks()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "All runs together took %s.\n", time.Duration(took*float64(time.Second)).Round(time.Second))
	return err
}

func (r Result) line() string {
	acked, messages := 0, 0
	slowest := time.Duration(0)
	for _, v := range r.Verdicts {
		acked += v.Acked
		messages += v.GapMessages
		slowest = max(slowest, v.Slowest)
	}
	mode := r.Mode
	if mode == "" {
		mode = "default"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%d\t", r.Fault.Name, r.Release, mode, len(r.Verdicts), acked)
	if len(r.Verdicts) == 0 {
		b.WriteString("-\t-\t-\t-\t-\t")
	} else {
		gap, worst := r.spread(func(v *Verdict) time.Duration { return v.KeptGap })
		resumed, _ := r.spread(func(v *Verdict) time.Duration { return v.Resumed })
		fmt.Fprintf(&b, "%s\t%d\t%d\t%d\t%d\t", r.goal(), gap.Milliseconds(), worst.Milliseconds(), resumed.Milliseconds(), slowest.Milliseconds())
	}
	for _, c := range Columns {
		b.WriteString(r.cell(c) + "\t")
	}
	verdict := "ok"
	if !r.OK() {
		verdict = "FAIL"
	}
	fmt.Fprintf(&b, "%d\t%s\t  %s", messages, verdict, r.Fault.Title)
	return b.String()
}

// spread is the median and the worst of a figure.
func (r Result) spread(of func(*Verdict) time.Duration) (median, worst time.Duration) {
	all := make([]time.Duration, len(r.Verdicts))
	for i, v := range r.Verdicts {
		all[i] = of(v)
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2, all[n-1]
}

// goal is the kept gap to reach, in milliseconds, or "-" if there is none.
func (r Result) goal() string {
	goal := r.Fault.Confirmed
	if r.Release == "promoted" {
		goal = r.Fault.Promoted
	}
	if goal == 0 {
		return "-"
	}
	outage, _ := r.spread(func(v *Verdict) time.Duration { return v.Outage })
	return strconv.FormatInt((goal + outage).Milliseconds(), 10)
}

// cell is the sum of one column over all runs.
func (r Result) cell(c Column) string {
	sum := 0
	for _, v := range r.Verdicts {
		sum += c.count(v)
	}
	switch {
	case sum == 0:
		return "0"
	case c.excused(r.Fault, r.Release):
		return strconv.Itoa(sum) + "~"
	}
	return strconv.Itoa(sum) + "!"
}

// Remarks explains what is not zero: errors by text, lost state by kind, the first
// details of each run, and the runs without a verdict.
func (r Result) Remarks() string {
	var b strings.Builder
	for i, v := range r.Verdicts {
		for _, line := range slices.Concat(byKind("error", v.Errors), byKind("state lost", v.State), v.Details) {
			fmt.Fprintf(&b, "%s run %d: %s\n", r.Fault.Name, i+1, line)
		}
	}
	for _, err := range r.Failures {
		fmt.Fprintf(&b, "%s: no verdict: %v\n", r.Fault.Name, err)
	}
	return b.String()
}

func byKind(what string, counts map[string]int) (lines []string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%s: %d times %s", what, counts[k], k))
	}
	return lines
}
