package sentinel

import "time"

// State says whether a master may be written to.
type State uint8

// The states of a View. Only Serving lets commands through.
const (
	Unknown   State = iota // no Sentinel has named a master yet
	Verifying              // a Sentinel names one; it has yet to say itself that it is master
	Serving                // the newest configuration names it and it says so itself
	Fenced                 // a failover is about to promote another, or this side of a partition may be the wrong one
	Doubt                  // the master is gone, denied its role, or is contradicted
)

var stateNames = [...]string{"unknown", "verifying", "serving", "fenced", "doubt"}

// String is the state's name in logs, metrics and the status.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// MarshalText is String, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// View is who is master, as of one moment. It never changes; a newer one
// supersedes it, which happens only when its State, Epoch, Master, Proven or
// RunID would be another, never for a new Reason alone.
type View struct {
	Name   string // the master's name at the Sentinels
	Seq    uint64 // one more than the View before
	State  State
	Epoch  uint64    // of the Sentinel configuration that named Master
	Master string    // host:port to dial, after address map and resolution; "" while none is believed
	RunID  string    // of the process that proved its role, "" if it did not
	Proven bool      // the node itself said role:master to holdfast's own login
	Reason string    // why this View, in words for an operator
	Since  time.Time // when it was published

	superseded chan struct{}
}

// Serving says whether commands may be sent to Master.
func (v *View) Serving() bool { return v.State == Serving }

// Superseded is closed once a newer View is published. Load the View first and
// wait on that View's channel then, so that no change is missed in between.
func (v *View) Superseded() <-chan struct{} { return v.superseded }

// sameAs says whether w would tell a reader of v nothing new.
func (v *View) sameAs(w *View) bool {
	return v.State == w.State && v.Epoch == w.Epoch && v.Master == w.Master && v.Proven == w.Proven && v.RunID == w.RunID
}
