package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Verdict is what a run showed. All counts are of things that went wrong, but for
// Answers, Acked and LostLag, LostApart, GapMessages, Uncertain and Expired where
// the fault excuses them.
type Verdict struct {
	Fault   string `json:"fault"`
	Clients int    `json:"clients"`
	Answers int    `json:"answers"` // right replies
	Acked   int    `json:"acked"`   // acknowledged writes

	Cut       int            `json:"cut"`       // connections that the endpoint closed
	Refused   int            `json:"refused"`   // connections that could not be opened
	Hung      int            `json:"hung"`      // commands that were not answered at all
	Errors    map[string]int `json:"errors"`    // error replies by text, without the next two
	Uncertain int            `json:"uncertain"` // error replies that say that nobody knows
	Expired   int            `json:"expired"`   // error replies that say that it waited too long, and was not executed

	LostStale int `json:"lost_stale"` // acknowledged writes missing, sent after the promotion: a node that was no master took them
	LostLag   int `json:"lost_lag"`   // acknowledged writes missing, sent before: not replicated in time
	LostApart int `json:"lost_apart"` // acknowledged writes missing, sent on the wrong side of a partition before the endpoint fenced itself off
	Twice     int `json:"twice"`      // writes applied twice, messages delivered twice
	Denied    int `json:"denied"`     // writes applied although the client was told that they were not
	Disorder  int `json:"disorder"`   // writes and messages of one client out of order
	Wrong     int `json:"wrong"`      // replies to another command, elements of another client

	State map[string]int `json:"state"` // session state lost: db, name, MULTI, subscription, tracking
	Stale int            `json:"stale"` // reads that did not show what had been acknowledged before
	Aged  int            `json:"aged"`  // cached values that nobody invalidated

	Missed      int `json:"missed"`       // messages acknowledged after the resubscription and never delivered
	GapMessages int `json:"gap_messages"` // messages acknowledged before it and never delivered
	Broken      int `json:"broken"`       // invariants that do not hold in the final data: torn transactions, lost updates

	KeptGap time.Duration `json:"kept_gap_ns"` // the longest time without an acknowledged write that survived
	Resumed time.Duration `json:"resumed_ns"`  // the longest time from a promotion to the next such write
	Outage  time.Duration `json:"outage_ns"`   // from the promotion until the new master could be reached, where that was the fault
	Slowest time.Duration `json:"slowest_ns"`  // reply to a command that does not block

	Events  []Event  `json:"events"`
	Details []string `json:"details"` // the first things that went wrong, in words

	kept  []time.Duration // when each surviving write was acknowledged
	noted map[string]int  // details, by kind
}

// maxDetails bounds Details, for each kind.
const maxDetails = 5

// detail notes one thing that went wrong.
func (v *Verdict) detail(kind, format string, args ...any) {
	if v.noted[kind]++; v.noted[kind] <= maxDetails {
		v.Details = append(v.Details, kind+": "+fmt.Sprintf(format, args...))
	}
}

// Column is one figure of a verdict that has to be zero.
type Column struct {
	Name  string
	count func(*Verdict) int
	// excused says that this fault is expected to cause some.
	excused func(f Fault, release string) bool
}

func never(Fault, string) bool       { return false }
func gamble(f Fault, r string) bool  { return f.Gamble && r == "promoted" }
func lagging(f Fault, r string) bool { return !f.Strict && !f.Apart || gamble(f, r) }
func apart(f Fault, _ string) bool   { return f.Apart }

// Columns are all figures that have to be zero.
var Columns = []Column{
	{"cut", func(v *Verdict) int { return v.Cut }, never},
	{"refused", func(v *Verdict) int { return v.Refused }, never},
	{"hung", func(v *Verdict) int { return v.Hung }, never},
	{"errors", func(v *Verdict) int { return total(v.Errors) }, never},
	{"uncertain", func(v *Verdict) int { return v.Uncertain }, func(f Fault, r string) bool { return !f.Strict || gamble(f, r) }},
	{"expired", func(v *Verdict) int { return v.Expired }, apart},
	{"lost", func(v *Verdict) int { return v.LostStale }, gamble},
	{"lag", func(v *Verdict) int { return v.LostLag }, lagging},
	{"apart", func(v *Verdict) int { return v.LostApart }, apart},
	{"twice", func(v *Verdict) int { return v.Twice }, never},
	{"denied", func(v *Verdict) int { return v.Denied }, never},
	{"disorder", func(v *Verdict) int { return v.Disorder }, never},
	{"wrong", func(v *Verdict) int { return v.Wrong }, never},
	{"state", func(v *Verdict) int { return total(v.State) }, never},
	{"stale", func(v *Verdict) int { return v.Stale }, gamble},
	{"aged", func(v *Verdict) int { return v.Aged }, never},
	{"missed", func(v *Verdict) int { return v.Missed }, never},
	{"broken", func(v *Verdict) int { return v.Broken }, gamble},
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Failed returns the names of the columns that are not zero and not excused.
func (v *Verdict) Failed(f Fault, release string) (names []string) {
	for _, c := range Columns {
		if c.count(v) != 0 && !c.excused(f, release) {
			names = append(names, c.Name)
		}
	}
	return names
}

// merge adds counts by kind.
func merge(into, from map[string]int) {
	for _, k := range slices.Sorted(maps.Keys(from)) {
		into[k] += from[k]
	}
}
