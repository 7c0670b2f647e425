package proxy

import (
	"sync/atomic"
	"time"
)

// stat is what a loop counts, besides refusals and cuts.
type stat int

const (
	statAccepted stat = iota
	statAnswered
	statCutCommands
	statResent
	statBytesIn
	statBytesOut
	statHolds
	statHeldNanos
	statUpstreams
	statUpstreamsLost
	statAttachFailed
	statDenied
	statUnexpected
	statCount
)

// refused is why a command was answered with an error of ours.
type refused int

const (
	refusedUncertain refused = iota
	refusedExpired
	refusedTooLarge
	refusedPolicy
	refusedMoved
	refusedAuth
	refusedProtocol
	refusedCount
)

// String is the reason's label in metrics.
func (r refused) String() string {
	return [...]string{"uncertain", "expired", "too_large", "policy", "moved", "auth", "protocol"}[r]
}

// cut is why a connection was ended by holdfast or its client.
type cut int

const (
	cutNone      cut = iota // it ended as it should: QUIT, or its own end with nothing due
	cutClient               // the client went away
	cutSlow                 // it did not read, and Redis gave up on it, or too much was kept here
	cutHalfReply            // it had a part of a reply that can no longer be completed
	cutState                // its connection's state cannot be carried over
	cutLogin                // the new master refuses its login
	cutStray                // a reply came that nobody had asked for
	cutTunnel               // bytes cannot be carried over
	cutDrain                // holdfast is ending, and it was at rest
	cutDeadline             // holdfast is ending, and it was not
	cutWeb                  // it spoke HTTP
	cutAddress              // the address that it was connected to has left this machine
	cutCount
)

// String is the reason's label in metrics.
func (c cut) String() string {
	return [...]string{"done", "client", "slow", "half_reply", "state", "login", "stray_reply", "tunnel", "drain", "drain_deadline", "http", "address"}[c]
}

// counts are written by one loop and read by anybody.
type counts struct {
	stats    [statCount]atomic.Uint64
	refusals [refusedCount]atomic.Uint64
	cuts     [cutCount]atomic.Uint64
	pins     [pinCount]atomic.Uint64
}

func (c *counts) add(s stat, n int) { c.stats[s].Add(uint64(n)) }
func (c *counts) refuse(r refused)  { c.refusals[r].Add(1) }
func (c *counts) cut(why cut)       { c.cuts[why].Add(1) }
func (c *counts) get(s stat) uint64 { return c.stats[s].Load() }
func (s *session) accepted()        { s.site.count.add(statAccepted, 1) }

// Stats is a snapshot for the status page and the metrics.
type Stats struct {
	Draining    bool            `json:"draining"`
	Clients     int             `json:"clients"`
	Upstreams   int             `json:"upstreams"`
	Shared      int             `json:"shared_upstreams"` // of these
	Connections uint64          `json:"connections"`      // accepted since the start
	TurnedAway  uint64          `json:"turned_away"`      // above limits.max_clients
	Listeners   []ListenerStats `json:"listeners"`
	Masters     []MasterStats   `json:"masters"`
}

// ListenerStats is one listener as it stands.
type ListenerStats struct {
	Address string `json:"address"` // as bound, else as configured
	Master  string `json:"master"`
	Mode    string `json:"mode"`
	Clients int    `json:"clients"`
	Bound   bool   `json:"bound"`
	Error   string `json:"error,omitempty"` // why it does not accept
	TLS     *TLS   `json:"tls,omitempty"`   // nil: clients are spoken to in the clear
}

// TLS is a listener's certificate and what became of its handshakes.
type TLS struct {
	Failed  uint64    `json:"handshakes_failed"`
	Last    string    `json:"last_failure,omitempty"`
	Expires time.Time `json:"certificate_expires"`
	Fault   string    `json:"certificate_fault,omitempty"` // why the one that was to follow cannot be used
}

// MasterStats is what the data path knows of a master beyond its View.
type MasterStats struct {
	Name    string    `json:"name"`
	Waiting int       `json:"waiting"`           // clients that wait for an upstream
	Trouble string    `json:"trouble,omitempty"` // why the last upstream could not be prepared
	Carried []Carried `json:"carried"`           // the last ten failovers, oldest first
	Counters
}

// Counters count from the start of the process. Commands keep Accepted =
// Answered + the sum of Refused + Cut + InFlight.
type Counters struct {
	Accepted uint64            `json:"commands_accepted"`
	Answered uint64            `json:"commands_answered"`
	Refused  map[string]uint64 `json:"commands_refused"` // answered with an error of ours, by reason
	Cut      uint64            `json:"commands_cut"`     // their client was gone before the answer
	InFlight uint64            `json:"commands_in_flight"`
	Resent   uint64            `json:"commands_resent"`

	BytesIn         uint64            `json:"bytes_in"`
	BytesOut        uint64            `json:"bytes_out"`
	Holds           uint64            `json:"holds"`        // waits for an upstream that ended
	HeldSeconds     float64           `json:"held_seconds"` // and how long they were together
	Closed          map[string]uint64 `json:"closed"`       // connections, by reason
	Pins            map[string]uint64 `json:"session_pins"` // sessions that got an upstream of their own, by reason
	UpstreamsOpened uint64            `json:"upstreams_opened"`
	UpstreamsLost   uint64            `json:"upstreams_lost"`
	AttachFailed    uint64            `json:"attach_failed"`
	RoleDenied      uint64            `json:"role_denied"`      // upstreams that said they are no master
	Unexpected      uint64            `json:"unexpected_reply"` // replies that nobody waited for; must stay 0
}

// Stats may be called from any goroutine.
func (p *Proxy) Stats() Stats {
	st := Stats{
		Draining:    p.draining.Load(),
		Clients:     int(p.clients.Load()),
		Upstreams:   int(p.upstreams.Load()),
		Shared:      int(p.shared.Load()),
		Connections: p.accepted.Load(),
		TurnedAway:  p.turnedAway.Load(),
	}
	for _, on := range p.listeners {
		st.Listeners = append(st.Listeners, on.stats())
	}
	for _, m := range p.masters {
		ms := MasterStats{Name: m.name, Waiting: int(m.waiting.Load()), Counters: p.counters(m)}
		ms.Trouble, ms.Carried = m.history()
		st.Masters = append(st.Masters, ms)
	}
	return st
}

// counters sums what the loops counted for one master.
func (p *Proxy) counters(m *master) Counters {
	c := Counters{Refused: map[string]uint64{}, Closed: map[string]uint64{}, Pins: map[string]uint64{}}
	for _, l := range p.loops {
		c.sum(&l.sites[m.index].count)
	}
	settled := c.Answered + c.Cut
	for _, n := range c.Refused {
		settled += n
	}
	if c.Accepted > settled {
		c.InFlight = c.Accepted - settled
	}
	return c
}

func (c *Counters) sum(of *counts) {
	// What is settled is read before what was accepted, so that a snapshot
	// taken in motion never shows more answers than questions.
	c.Answered += of.get(statAnswered)
	c.Cut += of.get(statCutCommands)
	for r := refused(0); r < refusedCount; r++ {
		c.Refused[r.String()] += of.refusals[r].Load()
	}
	for why := cutNone; why < cutCount; why++ {
		c.Closed[why.String()] += of.cuts[why].Load()
	}
	for why := pinMode + 1; why < pinCount; why++ {
		c.Pins[why.String()] += of.pins[why].Load()
	}
	c.Accepted += of.get(statAccepted)
	c.Resent += of.get(statResent)
	c.BytesIn += of.get(statBytesIn)
	c.BytesOut += of.get(statBytesOut)
	c.Holds += of.get(statHolds)
	c.HeldSeconds += float64(of.get(statHeldNanos)) / 1e9
	c.UpstreamsOpened += of.get(statUpstreams)
	c.UpstreamsLost += of.get(statUpstreamsLost)
	c.AttachFailed += of.get(statAttachFailed)
	c.RoleDenied += of.get(statDenied)
	c.Unexpected += of.get(statUnexpected)
}
