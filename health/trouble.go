package health

import (
	"fmt"
	"time"

	"holdfast/proxy"
)

// notReady is why traffic should not be sent here now, one reason a line.
func (st *Status) notReady() (reasons []string) {
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if st.Proxy.Draining {
		say("draining")
	}
	for _, l := range st.Listeners {
		switch {
		case l.Bound || st.Proxy.Draining:
		case l.Error != "":
			say("listener %s is not bound: %s", l.Address, l.Error)
		default:
			say("listener %s is not bound yet", l.Address)
		}
	}
	for _, m := range st.Masters {
		switch {
		case m.serving():
		case m.Address == "" && st.deaf() != "":
			say("master %s is not serving (%s): %s; %s", m.Name, m.State, m.Reason, st.deaf())
		case m.Reason != "":
			say("master %s is not serving (%s): %s", m.Name, m.State, m.Reason)
		default:
			say("master %s is not serving (%s)", m.Name, m.State)
		}
	}
	return reasons
}

// deaf is why nothing is heard, in the words of the first Sentinel that cannot be
// spoken to; "" if any answers.
func (st *Status) deaf() (why string) {
	for _, s := range st.Sentinels {
		if s.Connected {
			return ""
		}
		if why == "" && s.Error != "" {
			why = "Sentinel " + s.Address + ": " + s.Error
		}
	}
	return why
}

// troubles are what an operator should look at, even while everything serves.
func (st *Status) troubles() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	all = append(all, st.notReady()...)
	for _, l := range st.Listeners {
		if l.TLS != nil {
			certificateTroubles(l, st.Now, say)
		}
	}
	for _, m := range st.Masters {
		m.troubles(say)
	}
	for _, r := range st.Routers {
		routerTroubles(r, say)
	}
	for _, s := range st.Sentinels {
		s.troubles(say)
		for _, m := range st.Masters {
			s.contradicts(m, say)
		}
	}
	return all
}

// expiresSoon is how long before its end a certificate should have been renewed.
const expiresSoon = 7 * 24 * time.Hour

func certificateTroubles(l proxy.ListenerStats, now time.Time, say func(string, ...any)) {
	switch left := l.TLS.Expires.Sub(now); {
	case left <= 0:
		say("listener %s: its TLS certificate has expired %s ago", l.Address, span(-left.Seconds()))
	case left < expiresSoon:
		say("listener %s: its TLS certificate expires in %s", l.Address, span(left.Seconds()))
	}
	if l.TLS.Fault != "" {
		say("listener %s: its TLS certificate has changed and cannot be used, the one before stays in force: %s", l.Address, l.TLS.Fault)
	}
}

func (m Master) troubles(say func(string, ...any)) {
	if m.Sentinels.Answer < m.Sentinels.Needed {
		say("master %s: %d of %d Sentinels answer, a failover needs %d",
			m.Name, m.Sentinels.Answer, m.Sentinels.Known, m.Sentinels.Needed)
	}
	if m.serving() && !m.Proven {
		say("master %s serves on the Sentinels' word alone; its own word is missing: %s", m.Name, m.LastProbe)
	}
	if m.Proven && m.Attached == 0 {
		say("master %s has no replica attached: nobody could take over", m.Name)
	}
	if m.Losses > 0 {
		say("master %s came back %d times with an older or empty data set since the start", m.Name, m.Losses)
	}
	if m.Traffic.Trouble != "" {
		say("master %s: clients cannot be attached: %s", m.Name, m.Traffic.Trouble)
	}
	if m.Traffic.Unexpected > 0 {
		say("master %s sent %d replies that nobody waited for: a fault in holdfast or in the server, please report it",
			m.Name, m.Traffic.Unexpected)
	}
}

func (s Sentinel) troubles(say func(string, ...any)) {
	switch {
	case s.Error != "":
		say("Sentinel %s: %s", s.Address, s.Error)
	case !s.Connected:
		say("Sentinel %s has not answered yet", s.Address)
	case !s.Subscribed:
		say("Sentinel %s is polled, but its events do not arrive", s.Address)
	}
	if s.Tilt {
		say("Sentinel %s is in TILT: it distrusts its clock and does not act", s.Address)
	}
}

// contradicts says what this Sentinel has against the present View of m.
func (s Sentinel) contradicts(m Master, say func(string, ...any)) {
	for _, r := range s.Says {
		switch {
		case r.Name != m.Name || !s.Connected:
		case !r.Known:
			say("Sentinel %s has no master called %s", s.Address, m.Name)
		case m.serving() && r.Address != m.Address:
			say("Sentinel %s names %s as %s in epoch %d; served is %s in epoch %d",
				s.Address, r.Address, m.Name, r.Epoch, m.Address, m.Epoch)
		}
	}
}
