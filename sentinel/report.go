package sentinel

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what one Sentinel answered about one master when it was polled.
type report struct {
	via   string    // the watcher that asked
	id    string    // the Sentinel's own id; via for one too old to have it
	asked time.Time // everything in the report is younger than this
	heard time.Time

	unknown bool   // the Sentinel has no master of that name
	addr    string // who is master: GET-MASTER-ADDR-BY-NAME, as a dialable address; "" if it cannot be resolved
	epoch   uint64 // under which configuration: SENTINEL MASTER

	announced string // host:port of the master in the Sentinel's own words

	flags    string // of SENTINEL MASTER: master,s_down,...
	stage    string // its failover-state; "" while this Sentinel leads no failover
	tilt     bool   // the Sentinel distrusts its own clock and does not act
	quorum   int
	replicas []Replica
	peers    []member // the other Sentinels it knows
}

// down says whether the Sentinel holds the master for down. In TILT it cannot
// tell, because that is a matter of time.
func (r report) down() bool {
	return !r.tilt && (hasFlag(r.flags, "s_down") || hasFlag(r.flags, "o_down"))
}

// names says whether the report is of this configuration.
func (r report) names(c configuration) bool { return r.addr == c.addr && r.epoch == c.epoch }

// candidate is the replica that this Sentinel has selected to be promoted, ""
// if none.
func (r report) candidate() string {
	for _, s := range r.replicas {
		if hasFlag(s.Flags, "promoted") {
			return s.Address
		}
	}
	return ""
}

// Replica is a replica as a Sentinel sees it.
type Replica struct {
	Address string // as a dialable address
	RunID   string
	Flags   string // slave,s_down,...
	Role    string // that it reports itself: master right after a failover, for the old master
	Master  string // whose replica it says it is, "" if it did not say
	LinkUp  bool   // to that master
	Offset  int64
}

// member is one Sentinel of the group: an address to reach it at and its id, ""
// if that is not known.
type member struct{ addr, id string }

// resolver turns an announced host and port into an address to dial, or into "".
type resolver func(host, port string) string

// readMaster takes over the reply of SENTINEL MASTER, all but the address: in a
// failover's last stages its leader shows the old one here, beside the new epoch.
func (r *report) readMaster(fields map[string]string) {
	r.epoch, _ = strconv.ParseUint(fields["config-epoch"], 10, 64)
	r.quorum, _ = strconv.Atoi(fields["quorum"])
	r.flags, r.stage = fields["flags"], fields["failover-state"]
	if r.stage == "none" {
		r.stage = ""
	}
}

// readReplicas takes over the reply of SENTINEL REPLICAS.
func (r *report) readReplicas(list []map[string]string, dialable resolver) {
	for _, fields := range list {
		s := Replica{
			Address: dialable(fields["ip"], fields["port"]),
			RunID:   fields["runid"],
			Flags:   fields["flags"],
			Role:    fields["role-reported"],
			LinkUp:  fields["master-link-status"] == "ok",
		}
		s.Offset, _ = strconv.ParseInt(fields["slave-repl-offset"], 10, 64)
		// Until Sentinel has had an INFO of the replica it says role-reported slave
		// and master-host ?, so that only the latter shows what is so.
		if host := fields["master-host"]; host != "" && host != "?" {
			s.Master = dialable(host, fields["master-port"])
		}
		if s.Address != "" {
			r.replicas = append(r.replicas, s)
		}
	}
	slices.SortFunc(r.replicas, func(a, b Replica) int { return cmp.Compare(a.Address, b.Address) })
}

// readPeers takes over the reply of SENTINEL SENTINELS.
func (r *report) readPeers(list []map[string]string, dialable resolver) {
	for _, fields := range list {
		if addr := dialable(fields["ip"], fields["port"]); addr != "" {
			r.peers = append(r.peers, member{addr: addr, id: fields["runid"]})
		}
	}
}

func hasFlag(flags, flag string) bool {
	return slices.Contains(strings.Split(flags, ","), flag)
}
