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

// Result is all runs of one fault.
type Result struct {
	Fault    Fault
	Release  string // of the endpoint, "confirmed" or "promoted"
	Verdicts []*Verdict
	Failures []error // runs without a verdict
}

// OK says whether every run gave a verdict, and no figure that has to be zero is
// not.
func (r Result) OK() bool {
	return len(r.Failures) == 0 && !slices.ContainsFunc(r.Verdicts, func(v *Verdict) bool {
		return len(v.Failed(r.Fault, r.Release)) != 0
	})
}

// Table prints one line per fault: the median and the worst kept gap, the worst
// latency, and the sums of all figures that have to be zero. A figure that is not
// is marked with "!", or with "~" where the fault excuses it.
func Table(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "fault\truns\tacked\tkept gap ms\tworst\tslowest ms\t"
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
	for _, r := range results {
		if _, err := io.WriteString(w, r.Remarks()); err != nil {
			return err
		}
	}
	return nil
}

func (r Result) line() string {
	acked, messages := 0, 0
	gaps := make([]time.Duration, 0, len(r.Verdicts))
	slowest := time.Duration(0)
	for _, v := range r.Verdicts {
		acked += v.Acked
		messages += v.GapMessages
		gaps = append(gaps, v.KeptGap)
		slowest = max(slowest, v.Slowest)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%d\t%d\t", r.Fault.Name, len(r.Verdicts), acked)
	if len(gaps) == 0 {
		b.WriteString("-\t-\t-\t")
	} else {
		slices.Sort(gaps)
		fmt.Fprintf(&b, "%d\t%d\t%d\t", gaps[len(gaps)/2].Milliseconds(), gaps[len(gaps)-1].Milliseconds(), slowest.Milliseconds())
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
