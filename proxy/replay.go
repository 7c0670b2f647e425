package proxy

import (
	"strconv"
)

// step is a part of a replay: commands that are written together, and what
// Redis must answer before the upstream may be used.
type step struct {
	cmd     []byte
	replies int    // frames that answer it; messages do not count
	soft    bool   // an error is no reason to give up (an older server)
	what    string // for the error
}

// poison is a command that no server knows, so that it aborts its transaction.
var poison = command("HOLDFAST.QUEUE.NOT.KEPT")

// subscribeBatch is how many channels one replayed SUBSCRIBE names.
const subscribeBatch = 512

// replay turns the acknowledged state into what the next upstream must be told
// after its login, in the order in which Redis accepts it: what RESP2 forbids
// to a subscriber comes before the subscriptions, what silences replies last.
func (v *vector) replay() []step {
	if v == nil {
		return nil
	}
	var steps []step
	add := func(cmd []byte, replies int, soft bool, what string) {
		steps = append(steps, step{cmd, replies, soft, what})
	}
	for i, cmd := range v.settings {
		if cmd != nil && i != settingTracking {
			add(cmd, 1, true, "CLIENT")
		}
	}
	if v.db != 0 {
		add(command("SELECT", strconv.Itoa(v.db)), 1, false, "SELECT")
	}
	if cmd := v.settings[settingTracking]; cmd != nil {
		add(cmd, 1, false, "CLIENT TRACKING")
	}
	if v.readonly {
		add(command("READONLY"), 1, true, "READONLY")
	}
	if v.monitor {
		add(command("MONITOR"), 1, false, "MONITOR")
	}
	for family, name := range [...]string{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"} {
		steps = append(steps, subscriptions(name, v.subs[family])...)
	}
	if t := v.multi; t != nil {
		add(command("MULTI"), 1, false, "MULTI")
		// A command that is refused now poisons the transaction, as it would
		// have on the old node: EXEC says EXECABORT. A queue that was too large
		// to be kept is poisoned on purpose.
		if t.lost {
			add(poison, 1, true, "MULTI queue")
		} else if t.commands > 0 {
			add(t.queue, t.commands, true, "MULTI queue")
		}
	}
	if v.mute {
		add(command("CLIENT", "REPLY", "OFF"), 0, false, "CLIENT REPLY")
	}
	return steps
}

func subscriptions(name string, set map[string]struct{}) []step {
	var steps []step
	batch := []string{name}
	flush := func() {
		if len(batch) > 1 {
			steps = append(steps, step{cmd: command(batch...), replies: len(batch) - 1, what: name})
			batch = batch[:1]
		}
	}
	for channel := range set {
		if batch = append(batch, channel); len(batch) > subscribeBatch {
			flush()
		}
	}
	flush()
	return steps
}
