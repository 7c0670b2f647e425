package vip

import (
	"net/netip"
	"time"
)

// Stats is one router as it was when it last did something.
type Stats struct {
	Name      string       `json:"name"`
	Interface string       `json:"interface"`
	RouterID  int          `json:"router_id"`
	Version   int          `json:"version"`
	Addresses []netip.Addr `json:"addresses"`
	Source    string       `json:"source,omitempty"` // of adverts; empty: the interface cannot be used
	Unicast   bool         `json:"unicast"`

	State    State     `json:"state"`
	Since    time.Time `json:"since"`
	Why      string    `json:"why"`
	Priority Priority  `json:"priority"`
	// MasterDown is when a backup takes the addresses if nobody is heard until then.
	MasterDown time.Time `json:"master_down,omitzero"`
	Peer       *Peer     `json:"peer,omitempty"` // the last other router that was heard
	Lease      Lease     `json:"lease"`

	Sent        uint64            `json:"adverts_sent"`
	Received    uint64            `json:"adverts_received"` // of this router id, accepted or not
	Rejected    map[string]uint64 `json:"adverts_rejected"` // by reason; all are there, as with what follows
	Announced   uint64            `json:"announcements"`    // of one address each
	Failures    map[string]uint64 `json:"failures"`         // of the system, by what was tried
	Transitions map[State]int     `json:"transitions"`      // how often each state was entered
	Alarms      map[string]int    `json:"alarms"`
}

// Priority is what decides the election.
type Priority struct {
	Configured int `json:"configured"`
	Effective  int `json:"effective"` // with prefer_local_master
}

// Peer is another router of the same instance.
type Peer struct {
	Address  netip.Addr `json:"address"`
	Priority int        `json:"priority"`
	Heard    time.Time  `json:"heard"`
}

// Lease is the life of the addresses in the kernel, which ends by itself.
type Lease struct {
	Held      bool      `json:"held"` // the addresses are on the interface, by this router
	Lifetime  Seconds   `json:"lifetime_seconds"`
	Refreshed time.Time `json:"refreshed,omitzero"`
	// LatenessMax is by how much the latest refresh ever missed its time.
	LatenessMax Seconds `json:"lateness_max_seconds"`
	Slept       int     `json:"slept"` // how often this process stood still for longer than the lifetime
}

// Seconds is a time in seconds.
type Seconds float64
