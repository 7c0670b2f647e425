package health

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

// Status is all that holdfast knows of itself at one moment: the body of
// /status. Times are absolute, spans are in seconds.
type Status struct {
	Build
	Now       time.Time             `json:"now"`
	Since     time.Time             `json:"since"`  // when the process started
	Uptime    float64               `json:"uptime"` // seconds
	Ready     bool                  `json:"ready"`
	NotReady  []string              `json:"not_ready"` // why not, what /readyz says
	Troubles  []string              `json:"troubles"`  // what an operator should look at
	Masters   []Master              `json:"masters"`
	Sentinels []Sentinel            `json:"sentinels"`
	Listeners []proxy.ListenerStats `json:"listeners"`
	Routers   []vip.Stats           `json:"vip"` // the virtual addresses
	Proxy     Totals                `json:"proxy"`
}

// Totals are what the listeners of all masters share.
type Totals struct {
	Draining    bool   `json:"draining"`
	Clients     int    `json:"clients"`
	Upstreams   int    `json:"upstreams"`
	Shared      int    `json:"shared_upstreams"` // of these
	Connections uint64 `json:"connections"`      // accepted since the start
	TurnedAway  uint64 `json:"turned_away"`      // above limits.max_clients
}

// Master is one configured master: its View, what the Sentinels say and what
// its clients did.
type Master struct {
	Name      string     `json:"name"`
	State     string     `json:"state"` // of the View: unknown, verifying, serving, fenced, doubt
	Epoch     uint64     `json:"epoch"`
	Address   string     `json:"address"` // "" while none is believed
	RunID     string     `json:"run_id,omitempty"`
	Proven    bool       `json:"proven"` // it said role:master to holdfast itself
	Reason    string     `json:"reason"` // why it is so now
	Since     time.Time  `json:"since"`
	LastProbe string     `json:"last_probe,omitempty"`
	LastProof time.Time  `json:"last_proof,omitzero"`
	Sentinels Sight      `json:"sentinels"`
	Attached  int        `json:"attached_replicas"` // by the master's own count
	Replicas  []Replica  `json:"replicas"`
	Restarts  uint64     `json:"restarts"` // without a failover
	Losses    uint64     `json:"losses"`   // of those, with an older or empty data set
	Failovers []Failover `json:"failovers"`

	Traffic proxy.MasterStats `json:"traffic"`
}

// Sight counts the Sentinels of a master.
type Sight struct {
	Known  int `json:"known"`
	Answer int `json:"answer"`
	Needed int `json:"needed"` // to elect the leader of a failover
}

// Replica is a replica as the Sentinels see it.
type Replica struct {
	Address string `json:"address"`
	Flags   string `json:"flags"`
	LinkUp  bool   `json:"link_up"`
	Offset  int64  `json:"offset"`
}

// Failover is one time without a served master. The steps are in the order in
// which they happened.
type Failover struct {
	From    string         `json:"from"`
	To      string         `json:"to"` // the same if the master came back
	Epoch   uint64         `json:"epoch"`
	Why     string         `json:"why"`
	Began   time.Time      `json:"began"`
	Held    float64        `json:"held"` // seconds without a served master
	Steps   []Step         `json:"steps"`
	Clients *proxy.Carried `json:"clients,omitempty"` // what it was to them, once that is known
}

// Step is something that happened in a failover.
type Step struct {
	What  string  `json:"what"`  // doubted, fenced, selected, promoted, switched, served
	After float64 `json:"after"` // seconds since the failover began
}

// Sentinel is one Sentinel and what it says.
type Sentinel struct {
	Address    string    `json:"address"`
	ID         string    `json:"id,omitempty"`
	Configured bool      `json:"configured"` // not discovered
	Connected  bool      `json:"connected"`
	Subscribed bool      `json:"subscribed"`
	Since      time.Time `json:"since,omitzero"`
	LastHeard  time.Time `json:"last_heard,omitzero"`
	Tilt       bool      `json:"tilt"`
	Error      string    `json:"error,omitempty"`
	Polls      uint64    `json:"polls"`
	Errors     uint64    `json:"errors"`
	Events     uint64    `json:"events"`
	Says       []Says    `json:"says"`
}

// Says is what a Sentinel last said about a master.
type Says struct {
	Name    string `json:"name"`
	Known   bool   `json:"known"`
	Address string `json:"address"`
	Epoch   uint64 `json:"epoch"`
	Flags   string `json:"flags"`
	Stage   string `json:"stage,omitempty"` // while it leads a failover
	Quorum  int    `json:"quorum"`
}

// status puts the snapshots of the floors below together.
func (s *Server) status() *Status {
	now := time.Now()
	masters, traffic := s.below.Sentinel(), s.below.Proxy()
	st := &Status{
		Build: s.build, Now: now, Since: s.since, Uptime: now.Sub(s.since).Seconds(),
		Masters: []Master{}, Sentinels: []Sentinel{}, Listeners: list(traffic.Listeners),
		Routers: list(s.below.Routers()),
		Proxy: Totals{
			Draining: traffic.Draining, Clients: traffic.Clients, Upstreams: traffic.Upstreams, Shared: traffic.Shared,
			Connections: traffic.Connections, TurnedAway: traffic.TurnedAway,
		},
	}
	for _, t := range traffic.Masters {
		st.Masters = append(st.Masters, masterOf(masters.Masters, t))
	}
	for _, seen := range masters.Sentinels {
		st.Sentinels = append(st.Sentinels, sentinelOf(seen))
	}
	st.NotReady = list(st.notReady())
	st.Ready = len(st.NotReady) == 0
	st.Troubles = list(st.troubles())
	return st
}

// list is l, but never nil: a script gets [] and not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// masterOf joins what the two floors know of one master.
func masterOf(seen []sentinel.MasterStats, traffic proxy.MasterStats) Master {
	traffic.Carried = list(traffic.Carried)
	m := Master{
		Name: traffic.Name, State: sentinel.Unknown.String(), Traffic: traffic,
		Replicas: []Replica{}, Failovers: []Failover{},
	}
	i := slices.IndexFunc(seen, func(s sentinel.MasterStats) bool { return s.View.Name == traffic.Name })
	if i < 0 {
		return m
	}
	s := seen[i]
	m.State, m.Epoch, m.Address, m.RunID = s.View.State.String(), s.View.Epoch, s.View.Master, s.View.RunID
	m.Proven, m.Since, m.Reason = s.View.Proven, s.View.Since, cmp.Or(s.Reason, s.View.Reason)
	m.LastProbe, m.LastProof = s.LastProbe, s.LastProof
	m.Sentinels = Sight{Known: s.KnownSentinels, Answer: s.SightedSentinels, Needed: s.NeededSentinels}
	m.Attached, m.Restarts, m.Losses = s.AttachedReplicas, s.Reboots, s.Losses
	for _, r := range s.Replicas {
		m.Replicas = append(m.Replicas, Replica{Address: r.Address, Flags: r.Flags, LinkUp: r.LinkUp, Offset: r.Offset})
	}
	for _, f := range s.Failovers {
		m.Failovers = append(m.Failovers, failoverOf(f, traffic.Carried))
	}
	return m
}

// sameFailover is how far apart the two floors may note the beginning of one
// failover: the data path notes it when it has been told.
const sameFailover = time.Second

func failoverOf(f sentinel.Failover, carried []proxy.Carried) Failover {
	out := Failover{
		From: f.From, To: f.To, Epoch: f.Epoch, Why: f.Why, Began: f.Began,
		Held: f.Held().Seconds(), Steps: stepsOf(f),
	}
	for i, c := range carried {
		if c.To == f.To && c.At.Sub(f.Began).Abs() < sameFailover {
			out.Clients = &carried[i]
		}
	}
	return out
}

// stepsOf lists what happened, in order.
func stepsOf(f sentinel.Failover) (steps []Step) {
	for _, s := range f.Steps() {
		steps = append(steps, Step{What: s.Name, After: s.At.Sub(f.Began).Seconds()})
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.After, b.After) })
	return steps
}

func sentinelOf(s sentinel.SentinelStats) Sentinel {
	out := Sentinel{
		Address: s.Address, ID: s.ID, Configured: s.Configured,
		Connected: s.Connected, Subscribed: s.Subscribed, Since: s.Since, LastHeard: s.LastHeard,
		Tilt: s.Tilt, Error: s.Error, Polls: s.Polls, Errors: s.ErrorCount, Events: s.Events,
		Says: []Says{},
	}
	for _, r := range s.Masters {
		out.Says = append(out.Says, Says{
			Name: r.Name, Known: r.Known, Address: r.Address, Epoch: r.Epoch,
			Flags: r.Flags, Stage: r.Stage, Quorum: r.Quorum,
		})
	}
	return out
}

// serving says whether commands reach a master.
func (m Master) serving() bool { return m.State == sentinel.Serving.String() }

// Moved says whether the failover ended with another master.
func (f Failover) Moved() bool { return f.From != f.To }

// Story is the steps in one line: "fenced 0ms, selected 78ms, served 1.1s".
func (f Failover) Story() string {
	words := make([]string, len(f.Steps))
	for i, s := range f.Steps {
		words[i] = s.What + " " + span(s.After)
	}
	return strings.Join(words, ", ")
}
