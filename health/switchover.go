package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"holdfast/proxy"
	"holdfast/sentinel"
)

// The bounds of a switchover that is asked for here.
const (
	usualSwitchover   = 30 * time.Second
	longestSwitchover = 5 * time.Minute
	afterwards        = 20 * time.Second // at most, to put back what was changed and to tell the account
	accountTime       = 2 * time.Second  // for the data path to close its account of the failover
)

// OutcomeTrailer is the trailer of the answer that says how a switchover ended.
const OutcomeTrailer = "Holdfast-Outcome"

// The outcomes.
const (
	OutcomeDone   = "done"
	OutcomeFailed = "failed"
)

// switchover runs one and tells its steps, a line each, as they happen. It is the
// one thing here that changes something, so it is for this machine alone, and not
// for pages in a browser on it: those send an Origin. When the reader goes away it
// ends, and puts back what it changed.
func (s *Server) switchover(w http.ResponseWriter, r *http.Request) {
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !peer.Addr().Unmap().IsLoopback() {
		text(w, http.StatusForbidden, "a switchover is asked for on the machine that holdfast runs on, through its loopback address")
		return
	}
	if r.Header.Get("Origin") != "" {
		text(w, http.StatusForbidden, "a switchover is not for browsers")
		return
	}
	o, err := wanted(r)
	if err != nil {
		text(w, http.StatusBadRequest, err.Error())
		return
	}
	s.switching.Add(1)
	defer s.switching.Done()
	out := http.NewResponseController(w)
	deadline := time.Now().Add(o.Timeout + afterwards)
	_ = out.SetReadDeadline(deadline) // else the server ends the exchange sooner
	_ = out.SetWriteDeadline(deadline)
	plain(w, "text/plain; charset=utf-8")
	w.Header().Set("Trailer", OutcomeTrailer)
	o.Say = func(line string) {
		fmt.Fprintln(w, line)
		_ = out.Flush() // a reader that has gone ends the context
	}
	outcome := OutcomeDone
	began := time.Now()
	if err := s.below.Switchover(r.Context(), o); err != nil {
		outcome = OutcomeFailed
		o.Say("not switched over: " + err.Error())
	} else if !o.DryRun {
		o.Say(s.account(r.Context(), o.Master, began))
	}
	w.Header().Set(OutcomeTrailer, outcome)
}

// wanted reads the question.
func wanted(r *http.Request) (o sentinel.Switchover, err error) {
	o.Master = r.FormValue("master")
	if o.Master == "" {
		return o, fmt.Errorf("which master? /switchover?master=NAME")
	}
	for name, to := range map[string]*bool{"dry_run": &o.DryRun, "fence_writers": &o.FenceWriters} {
		if value := r.FormValue(name); value != "" {
			if *to, err = strconv.ParseBool(value); err != nil {
				return o, fmt.Errorf("%s is true or false, not %q", name, value)
			}
		}
	}
	o.Timeout = usualSwitchover
	if value := r.FormValue("timeout"); value != "" {
		if o.Timeout, err = time.ParseDuration(value); err != nil || o.Timeout < time.Second || o.Timeout > longestSwitchover {
			return o, fmt.Errorf("timeout is 1s to %v, not %q", longestSwitchover, value)
		}
	}
	return o, nil
}

// account is what the switchover was to the clients, as soon as the data path has
// it.
func (s *Server) account(ctx context.Context, master string, since time.Time) string {
	ctx, cancel := context.WithTimeout(ctx, accountTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, ok := carriedSince(s.below.Proxy(), master, since); ok {
			return fmt.Sprintf("clients: %d waited, %d cut, the last was carried over after %d ms; commands: %d sent again, %d uncertain, %d expired",
				c.Held, c.Cut, int64(c.Took*1000), c.Resent, c.Uncertain, c.Expired)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "clients: some still wait; see holdfast status"
		}
	}
}

func carriedSince(st proxy.Stats, master string, since time.Time) (proxy.Carried, bool) {
	for _, m := range st.Masters {
		if n := len(m.Carried); m.Name == master && n > 0 && m.Carried[n-1].At.After(since) {
			return m.Carried[n-1], true
		}
	}
	return proxy.Carried{}, false
}

// within gives every exchange a context that ends with ctx.
func within(ctx context.Context) func(net.Listener) context.Context {
	return func(net.Listener) context.Context { return ctx }
}
