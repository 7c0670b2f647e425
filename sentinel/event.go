package sentinel

import (
	"strconv"
	"strings"
	"time"

	"holdfast/config"
)

// event is one message that a Sentinel published. It saves time, nothing more:
// only polled reports change who is believed to be master.
type event struct {
	via   string // the watcher that heard it
	id    string // the Sentinel that said it
	heard time.Time

	kind  string // the channel: +selected-slave
	name  string // the master's name; "" if the event is about none
	about string // "master", "slave" or "sentinel", as in the payload
	node  string // the instance it is about, or the new master of +switch-master; host:port, "" if not known
	epoch uint64 // of +new-epoch
}

// subscribed is the kind of an event that no Sentinel sends: the subscription to
// its events has just begun, and earlier ones may be lost.
const subscribed = "subscribed"

// parse reads a message as Sentinel writes it (sentinelEvent in sentinel.c).
// dialable turns an announced host and port into an address, or into "".
func parse(channel, payload string, dialable resolver) event {
	e := event{kind: channel}
	words := strings.Fields(payload)
	switch {
	case channel == "+new-epoch" && len(words) > 0:
		e.epoch, _ = strconv.ParseUint(words[0], 10, 64)
	case channel == "+switch-master" && len(words) >= 5:
		// <name> <old ip> <old port> <new ip> <new port>
		e.name, e.about, e.node = words[0], "master", dialable(words[3], words[4])
	case len(words) >= 4 && words[0] == "master":
		// master <name> <ip> <port>
		e.name, e.about, e.node = words[1], words[0], dialable(words[2], words[3])
	case len(words) >= 8 && words[4] == "@":
		// slave|sentinel <ip:port or id> <ip> <port> @ <name> <master ip> <master port>
		e.name, e.about, e.node = words[5], words[0], dialable(words[2], words[3])
	}
	return e
}

// stage is the failover-state that an event of a failover's leader announces, as
// SENTINEL MASTER spells it; "" for other events.
func (e event) stage() string {
	switch e.kind {
	case "+elected-leader":
		return "select_slave"
	case "+selected-slave":
		return "send_slaveof_noone"
	}
	if state, ok := strings.CutPrefix(e.kind, "+failover-state-"); ok {
		return strings.ReplaceAll(state, "-", "_")
	}
	return ""
}

// decisive says whether a failover at this stage has an elected leader that is
// about to promote a replica, so that nothing new may be written to the old
// master. The stage before, wait_start, is not decisive: a Sentinel that is cut
// off tries for ever to be elected.
func decisive(stage string) bool {
	switch stage {
	case "select_slave", "send_slaveof_noone", "wait_promotion":
		return true
	}
	return false
}

// switches says whether the event announces that another node is master now.
// The failover's leader says +promoted-slave when it sees the promotion, and
// +switch-master only when all replicas follow, up to minutes later; the others
// say +switch-master as soon as they hear of the first.
func (e event) switches() bool {
	return e.kind == "+promoted-slave" || e.kind == "+switch-master"
}

// early says whether the fence can wait although the stage is decisive. The leader
// says +selected-slave one tick of its timer (50 to 100 ms) after it was elected,
// and promotes that replica one tick later still: a fence at +selected-slave loses
// nothing either. With release: confirmed everybody waits for a second anyway, and
// the fence goes up as soon as there is reason.
func (r rules) early(stage string) bool {
	return r.release == config.Promoted && stage == "select_slave"
}

// aborts says whether the event ends a failover that promoted nobody.
func (e event) aborts() bool { return strings.HasPrefix(e.kind, "-failover-abort-") }

// urgent says whether the event makes it worth asking the master for its role at
// once.
func (e event) urgent() bool {
	switch e.kind {
	case "+sdown", "+odown", "+reboot", "-role-change":
		return e.about == "master"
	}
	return false
}
