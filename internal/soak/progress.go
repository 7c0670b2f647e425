package soak

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/proxy"
)

// progress prints one line.
func (r *run) progress(since time.Duration, st proxy.Stats) {
	fmt.Fprintf(r.Out, "%5.0fs  %d commands, %.1f GB, %d clients came, %d gone, %d faults, %d unknown, %d lost, %d cut, %d MISMATCHES; %s\n",
		since.Seconds(), r.commands.Load(), float64(r.bytes.Load())/1e9, r.came.Load(), r.gone.Load(),
		(r.faults.Load()+1)/2, r.unknown.Load(), r.lost.Load(), r.cut.Load(), r.wrong(), inside(st))
}

// inside is what the proxy says of itself.
func inside(st proxy.Stats) string {
	if len(st.Masters) == 0 {
		return "no proxy of ours"
	}
	m := st.Masters[0]
	return fmt.Sprintf("upstreams %d, shared %d, resent %d; pins %s; closed %s", st.Upstreams, st.Shared, m.Resent, counted(m.Pins), counted(m.Closed))
}

// counted lists what is not zero, by name.
func counted(m map[string]uint64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] > 0 {
			list = append(list, fmt.Sprintf("%s:%d", name, m[name]))
		}
	}
	return strings.Join(list, " ")
}

// Print writes the end of it all.
func (rep *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%d commands answered and judged, %.1f GB; %d clients came, %d gone, %d cut during a fault; %d failovers, %d times all connections killed, %d stalls; %d answers of unknown outcome, %d finds of lost writes\n",
		rep.Commands, float64(rep.Bytes)/1e9, rep.Came, rep.Gone, rep.Cut, rep.Failovers, rep.Kills, rep.Stalls, rep.Unknown, rep.Lost)
	fmt.Fprintln(w, inside(rep.Proxy))
	if rep.OK() {
		fmt.Fprintln(w, "not one foreign byte")
		return
	}
	fmt.Fprintf(w, "%d MISMATCHES, told above\n", len(rep.Mismatches))
}
