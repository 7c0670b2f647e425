package health

import (
	"fmt"
	"io"
	"text/tabwriter"

	"holdfast/proxy"
)

// WriteText writes the status for a terminal or a mail: no colours, no widths
// beyond those of its own columns.
func (st *Status) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("holdfast %s, up %s: %s", st.Version, span(st.Uptime), st.Verdict())
	for _, t := range st.Troubles {
		say("  ! %s", t)
	}
	say("\nmaster\tstate\tnode\tepoch\tsince\tSentinels\treplicas\tclients waiting")
	for _, m := range st.Masters {
		say("%s\t%s\t%s\t%d\t%s\t%d of %d answer\t%d\t%d", m.Name, m.State, dash(m.Address), m.Epoch,
			ago(st.Now, m.Since), m.Sentinels.Answer, m.Sentinels.Known, len(m.Replicas), m.Traffic.Waiting)
	}
	say("\nlistener\tmaster\tmode\tclients\tstate")
	for _, l := range st.Listeners {
		say("%s\t%s\t%s\t%d\t%s", l.Address, l.Master, l.Mode, l.Clients, listenerState(l))
	}
	st.writeRouters(say)
	say("\nSentinel\tstate\theard\tnames")
	for _, s := range st.Sentinels {
		say("%s\t%s\t%s\t%s", s.Address, s.Seen(), ago(st.Now, s.LastHeard), s.Names())
	}
	say("\ncommands of\ttaken\tanswered\trefused\tcut\tin flight\tsent again\tbytes in\tbytes out")
	for _, m := range st.Masters {
		c := m.Traffic.Counters
		say("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", m.Name, many(c.Accepted), many(c.Answered), many(total(c.Refused)),
			many(c.Cut), many(c.InFlight), many(c.Resent), bytes(c.BytesIn), bytes(c.BytesOut))
	}
	for _, m := range st.Masters {
		m.writeFailovers(say)
	}
	return out.Flush()
}

// writeFailovers lists the failovers of one master, the last one first.
func (m Master) writeFailovers(say func(string, ...any)) {
	if len(m.Failovers) == 0 {
		return
	}
	say("\nlast failovers of %s", m.Name)
	for i := len(m.Failovers) - 1; i >= 0; i-- {
		f := m.Failovers[i]
		say("  %s  %s, not served for %s: %s", f.Began.Format("2006-01-02 15:04:05"), f.Route(), span(f.Held), f.Why)
		say("    %s", f.Story())
		if c := f.Clients; c != nil {
			say("    clients: %d held, %d cut; commands: %d sent again, %d uncertain, %d expired",
				c.Held, c.Cut, c.Resent, c.Uncertain, c.Expired)
		}
	}
}

// Route is from where to where the failover went.
func (f Failover) Route() string {
	if !f.Moved() {
		return f.From + " came back"
	}
	return fmt.Sprintf("%s -> %s (epoch %d)", f.From, f.To, f.Epoch)
}

func listenerState(l proxy.ListenerStats) string {
	switch {
	case l.Bound && l.TLS != nil && l.TLS.Failed > 0:
		return fmt.Sprintf("accepts TLS; %d handshakes failed, the last: %s", l.TLS.Failed, l.TLS.Last)
	case l.Bound && l.TLS != nil:
		return "accepts TLS"
	case l.Bound:
		return "accepts"
	case l.Error != "":
		return l.Error
	}
	return "not bound"
}

// Seen is how the Sentinel is seen, in a few words.
func (s Sentinel) Seen() string {
	switch {
	case s.Error != "":
		return s.Error
	case !s.Connected:
		return "no answer yet"
	case s.Tilt:
		return "TILT"
	case !s.Subscribed:
		return "polled, no events"
	}
	return "ok"
}

// Names is whom the Sentinel holds for master, under which epoch.
func (s Sentinel) Names() (list string) {
	for i, r := range s.Says {
		if i > 0 {
			list += ", "
		}
		if !r.Known {
			list += "no " + r.Name
			continue
		}
		list += fmt.Sprintf("%s %s in epoch %d", r.Name, dash(r.Address), r.Epoch)
	}
	return dash(list)
}
