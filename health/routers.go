package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/vip"
)

// writeRouters tells of the virtual addresses, if there are any.
func (st *Status) writeRouters(say func(string, ...any)) {
	if len(st.Routers) == 0 {
		return
	}
	say("\nvip\tstate\taddresses\tsince\tpriority\tlease\tother router\tadverts rejected")
	for _, r := range st.Routers {
		say("%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s", r.Name, r.State, addresses(r), ago(st.Now, r.Since), r.Priority.Effective,
			lease(st.Now, r), peer(st.Now, r), reasons(r.Rejected))
	}
	for _, r := range st.Routers {
		say("  %s is %s: %s", r.Name, r.State, r.Why)
	}
}

func addresses(r vip.Stats) string {
	words := make([]string, len(r.Addresses))
	for i, a := range r.Addresses {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// lease is the state of the router's lease.
func lease(now time.Time, r vip.Stats) string {
	if !r.Lease.Held {
		return "-"
	}
	return fmt.Sprintf("%s, renewed %s", span(float64(r.Lease.Lifetime)), ago(now, r.Lease.Refreshed))
}

// peer is the last other router that was heard.
func peer(now time.Time, r vip.Stats) string {
	if r.Peer == nil {
		return "none heard"
	}
	return fmt.Sprintf("%v, priority %d, %s", r.Peer.Address, r.Peer.Priority, ago(now, r.Peer.Heard))
}

// reasons lists what was counted at all: "password 3, ttl 1".
func reasons[N cmp.Ordered](by map[string]N) string {
	var none N
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		if by[reason] != none {
			words = append(words, fmt.Sprintf("%s %v", reason, by[reason]))
		}
	}
	return dash(strings.Join(words, ", "))
}

// routerMood is the colour of a router's state: good or bad.
func routerMood(s vip.State) string {
	if s == vip.Master || s == vip.Backup {
		return "good"
	}
	return "bad"
}

// routerTroubles are what an operator should look at. What was rejected or raised
// an alarm stays until the next start, for it means that two nodes own addresses
// at once, or did.
func routerTroubles(r vip.Stats, say func(string, ...any)) {
	if r.State == vip.Fault {
		say("vip %s: this node cannot own %s: %s", r.Name, addresses(r), r.Why)
	}
	if why := reasons(r.Rejected); why != "-" {
		say("vip %s: adverts were rejected since the start (%s): whoever sends such may own the addresses beside another", r.Name, why)
	}
	if why := reasons(r.Alarms); why != "-" {
		say("vip %s: alarms since the start: %s", r.Name, why)
	}
	if why := reasons(r.Failures); why != "-" {
		say("vip %s: the system refused since the start: %s", r.Name, why)
	}
}

// routers is what there is to measure about the virtual addresses.
func (out sink) routers(all []vip.Stats) {
	for _, r := range all {
		name := []string{"vip", r.Name}
		out.gauge("vip_info", "Where a VRRP instance runs; always 1.", 1, "interface", r.Interface, "router_id", fmt.Sprint(r.RouterID), "vip", r.Name)
		for _, state := range []vip.State{vip.Initialize, vip.Backup, vip.Master, vip.Fault} {
			out.gauge("vip_state", "1 for the state that the router is in.", bit(state == r.State), "state", string(state), "vip", r.Name)
			out.counter("vip_transitions_total", "Times that the router came into a state.", uint64(r.Transitions[state]), "state", string(state), "vip", r.Name)
		}
		out.gauge("vip_state_since_timestamp_seconds", "When the router came into its state.", stamp(r.Since), name...)
		out.gauge("vip_priority", "Priority in the election, with prefer_local_master.", float64(r.Priority.Effective), name...)
		out.counter("vip_adverts_sent_total", "Adverts sent.", r.Sent, name...)
		out.counter("vip_adverts_received_total", "Adverts of other routers of the instance, accepted or not.", r.Received, name...)
		out.reasons("vip_adverts_rejected_total", "Adverts that were not accepted: their sender may own the addresses at the same time.", "reason", r.Rejected, name...)
		out.counter("vip_announcements_total", "Addresses announced, by gratuitous ARP or neighbour advertisement.", r.Announced, name...)
		out.reasons("vip_failures_total", "What the system refused, by what was tried.", "tried", r.Failures, name...)
		for alarm, n := range r.Alarms {
			out.counter("vip_alarms_total", "What somebody has to look at.", uint64(n), "alarm", alarm, "vip", r.Name)
		}
		out.lease(r.Lease, name)
		if r.Peer != nil {
			out.gauge("vip_peer_priority", "Priority of the last other router that was heard.", float64(r.Peer.Priority), "peer", r.Peer.Address.String(), "vip", r.Name)
			out.gauge("vip_peer_heard_timestamp_seconds", "When it was last heard.", stamp(r.Peer.Heard), "peer", r.Peer.Address.String(), "vip", r.Name)
		}
	}
}

func (out sink) lease(l vip.Lease, name []string) {
	out.gauge("vip_lease_held", "1 while the addresses are on the interface, by this router.", bit(l.Held), name...)
	out.gauge("vip_lease_lifetime_seconds", "For how long the kernel keeps addresses that are not renewed, give or take a second.", float64(l.Lifetime), name...)
	out.gauge("vip_lease_lateness_max_seconds", "By how much the latest renewal ever missed its time.", float64(l.LatenessMax), name...)
	out.counter("vip_lease_slept_total", "Times that the process stood still for longer than the lifetime.", uint64(l.Slept), name...)
	if !l.Refreshed.IsZero() {
		out.gauge("vip_lease_renewed_timestamp_seconds", "When the lease was last renewed.", stamp(l.Refreshed), name...)
	}
}
