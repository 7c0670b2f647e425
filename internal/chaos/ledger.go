package chaos

import (
	"strings"
	"time"
)

// outcome is what a client was told about a write.
type outcome uint8

const (
	unknown outcome = iota // no reply, or one that says that nobody knows
	acked                  // it was applied
	refused                // it was not applied, and the client may believe that
)

// The prefixes of the errors that have a column of their own: the one that does not
// deny the write, and the one of a command that has waited for as long as it may.
const (
	uncertain = "UNCERTAIN"
	expired   = "MASTERDOWN"
)

// write is one write and what became of it. It is sent once: its id is never
// used again.
type write struct {
	id      string
	sent    time.Duration // since the run began
	done    time.Duration // the reply, or the end of waiting for one
	outcome outcome
}

// series is the writes of one client to one place, in the order in which they
// were sent. Each one, if it was applied, has left its id there.
type series struct {
	key    string
	db     string // "" is database 0
	spread bool   // not a list of the ids: each id is the name of a string key
	queue  bool   // a list that others pop from
	writes []write
}

// take is one element that a client popped from a queue.
type take struct {
	key, id    string
	sent, done time.Duration
}

// doubt is a read that did not show a write it should have: stale, unless that
// write turns out to be lost.
type doubt struct{ key, id string }

// message is one PUBLISH, arrival one message as it was delivered.
type message struct {
	seq        int
	sent, done time.Duration
	outcome    outcome
}

type arrival struct {
	seq int
	at  time.Duration
}

// review looks at the final data and says what is broken.
type review func(*data) (broken []string, err error)

// evidence is all that one client saw. It belongs to the client's goroutine until
// that ends, and to the judge afterwards.
type evidence struct {
	answers int            // replies that were right
	errors  map[string]int // error replies, by text
	cuts    []time.Duration
	refused int            // connections that could not be opened
	hung    int            // commands without a reply for longer than the client's patience
	wrong   []string       // replies that cannot be the answer to their command
	lost    map[string]int // session state that was gone, by kind
	aged    int            // cached values that nobody invalidated
	slowest time.Duration  // of all replies but those of blocking commands

	series  []*series
	takes   []take
	doubts  []doubt
	topic   string // what sent or got is about
	sent    []message
	got     []arrival
	reviews []review // what else must hold in the final data
}

// errorKinds bounds the number of different error texts one client keeps.
const errorKinds = 20

// fault counts an error reply by its prefix; for the general ERR by its text.
func (e *evidence) fault(text string) {
	kind, _, _ := strings.Cut(text, " ")
	if kind == "ERR" {
		kind = text
	}
	if len(e.errors) >= errorKinds && e.errors[kind] == 0 {
		kind = "other"
	}
	e.errors[kind]++
}

// record adds a write's outcome to s.
func (s *series) record(id string, sent, done time.Duration, o outcome) {
	s.writes = append(s.writes, write{id: id, sent: sent, done: done, outcome: o})
}
