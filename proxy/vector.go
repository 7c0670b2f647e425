package proxy

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"

	"holdfast/resp"
)

// vector is what a client's connection has become by commands that Redis has
// acknowledged: what RESET clears (clearClientConnectionState), and the library
// name and capabilities, which it does not. It is replayed on the next
// upstream. Only the session's loop touches it; a connection that never changed
// anything has none.
type vector struct {
	login      bool // user and pass were accepted by Redis
	user, pass string
	proto      int // 3 after HELLO 3
	db         int
	settings   [settingCount][]byte // the command that made each setting, as it was sent
	readonly   bool
	monitor    bool
	mute       bool // CLIENT REPLY OFF
	subs       [3]map[string]struct{}
	multi      *transaction
	watching   bool // a WATCH is in force
	broken     bool // and was lost with its connection: the next EXEC answers null
}

// What CLIENT subcommands leave behind, in the order of their replay.
const (
	settingName = iota
	settingLibName
	settingLibVer
	settingCapa
	settingNoEvict
	settingNoTouch
	settingTracking
	settingCount
)

// The families of subscriptions, by the letter before "subscribe".
const (
	channels = iota
	patterns
	shards
)

// transaction is an open MULTI: what has been answered +QUEUED.
type transaction struct {
	queue    []byte
	commands int
	lost     bool // the queue outgrew its limit or a command in it was not kept
	stateful bool // it holds commands that change the connection when EXEC runs
}

// subscribed tells whether replies may come that nobody asked for.
func (v *vector) subscribed() bool {
	return v != nil && len(v.subs[channels])+len(v.subs[patterns])+len(v.subs[shards]) > 0
}

// listens tells whether the client awaits something without asking: it must
// then be attached again without a command.
func (v *vector) listens() bool {
	return v.subscribed() || v != nil && (v.monitor || v.settings[settingTracking] != nil)
}

// redirects tells whether invalidations go to another connection, by an id that
// means nothing on another node.
func (v *vector) redirects() bool {
	return bytes.Contains(bytes.ToLower(v.settings[settingTracking]), []byte("redirect"))
}

func (v *vector) resp3() bool { return v != nil && v.proto == 3 }

// reset is what RESET leaves: Redis does not clear the library's name and version
// and the capabilities.
func (v *vector) reset() *vector {
	if v == nil {
		return nil
	}
	var left vector
	for _, i := range []int{settingLibName, settingLibVer, settingCapa} {
		left.settings[i] = v.settings[i]
	}
	return &left
}

// acked notes that Redis has accepted cmd (a complete request). EXEC, DISCARD,
// MULTI and subscriptions have functions of their own.
func (v *vector) acked(k kind, cmd []byte) {
	args := resp.Args(nil, cmd)
	switch k {
	case kindAuth:
		v.acceptAuth(args[1:])
	case kindHello:
		v.acceptHello(args)
	case kindSelect:
		if len(args) == 2 {
			v.db, _ = strconv.Atoi(string(args[1]))
		}
	case kindClient:
		v.acceptClient(args, cmd)
	case kindWatch:
		v.watching = true
	case kindUnwatch:
		v.watching, v.broken = false, false
	case kindReadonly:
		v.readonly = true
	case kindReadwrite:
		v.readonly = false
	case kindMonitor:
		v.monitor = true
	}
}

func (v *vector) acceptAuth(args [][]byte) {
	switch len(args) {
	case 1:
		v.login, v.user, v.pass = true, "default", string(args[0])
	case 2:
		v.login, v.user, v.pass = true, string(args[0]), string(args[1])
	}
}

func (v *vector) acceptHello(args [][]byte) {
	if len(args) < 2 {
		return
	}
	v.proto, _ = strconv.Atoi(string(args[1]))
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "auth") && i+2 < len(args):
			v.acceptAuth(args[i+1 : i+3])
			i += 2
		case is(args[i], "setname") && i+1 < len(args):
			v.setName(args[i+1])
			i++
		}
	}
}

func (v *vector) setName(name []byte) {
	v.settings[settingName] = nil
	if len(name) > 0 {
		v.settings[settingName] = command("CLIENT", "SETNAME", string(name))
	}
}

func (v *vector) acceptClient(args [][]byte, cmd []byte) {
	if len(args) < 3 {
		return
	}
	keep := func(i int) { v.settings[i] = bytes.Clone(cmd) }
	onOff := func(i int) {
		v.settings[i] = nil
		if is(args[2], "on") {
			keep(i)
		}
	}
	switch {
	case is(args[1], "setname"):
		v.setName(args[2])
	case is(args[1], "setinfo") && is(args[2], "lib-name"):
		keep(settingLibName)
	case is(args[1], "setinfo") && is(args[2], "lib-ver"):
		keep(settingLibVer)
	case is(args[1], "capa"):
		keep(settingCapa)
	case is(args[1], "no-evict"):
		onOff(settingNoEvict)
	case is(args[1], "no-touch"):
		onOff(settingNoTouch)
	case is(args[1], "tracking"):
		onOff(settingTracking)
	}
}

// begun notes an accepted MULTI, queued a command answered +QUEUED; limit
// bounds the bytes that are kept of the whole transaction.
func (v *vector) begun() { v.multi = &transaction{} }

func (v *vector) queued(k kind, cmd []byte, limit int) {
	t := v.multi
	if len(cmd) == 0 || len(t.queue)+len(cmd) > limit {
		t.lost, t.queue = true, nil
	}
	t.commands++
	t.stateful = t.stateful || k.stateful()
	if !t.lost {
		t.queue = append(t.queue, cmd...)
	}
}

// executed notes EXEC's reply: the frame, or nil when it was too large to be
// kept, in which case every queued command is taken to have succeeded. It tells
// whether what the connection has become is still known.
func (v *vector) executed(frame []byte) (known bool) {
	t := v.multi
	v.ended()
	if t == nil || !t.stateful || len(frame) > 0 && (frame[0] == '-' || frame[0] == '_' || frame[0] == '*' && frame[1] == '-') {
		return true
	}
	if t.lost {
		return false
	}
	var results [][]byte
	for e := range resp.Elements(frame) {
		results = append(results, e)
	}
	var req resp.Request
	for i := 0; len(t.queue) > 0; i++ {
		n, done, err := req.Scan(t.queue)
		if !done || err != nil {
			return false
		}
		cmd := t.queue[:n]
		t.queue = t.queue[n:]
		if i < len(results) && results[i][0] == '-' {
			continue
		}
		switch k := classify(resp.Name(cmd)); {
		case k == kindSubscribe, k == kindUnsubscribe:
			if i < len(results) {
				v.confirmed(firstTwo(results[i]))
			}
		case k.stateful():
			v.acked(k, cmd)
		}
	}
	return true
}

// shed notes that a command was answered with an error of ours and not passed
// on: a transaction that it belongs to must abort, one that it ends is over.
func (v *vector) shed(k kind) {
	switch {
	case v == nil || v.multi == nil:
	case k == kindExec || k == kindNullExec || k == kindDiscard:
		v.ended()
	default:
		v.multi.lost, v.multi.queue = true, nil
	}
}

// ended notes the end of a transaction, executed or discarded: Redis drops the
// watched keys with it.
func (v *vector) ended() { v.multi, v.watching, v.broken = nil, false, false }

// confirmed notes one (un)subscription as Redis reported it.
func (v *vector) confirmed(what, channel []byte) {
	family := channels
	if len(what) == 0 {
		return
	}
	switch what[0] {
	case 'p':
		family = patterns
	case 's':
		if len(what) > 1 && what[1] == 's' || bytes.HasPrefix(what, []byte("sun")) {
			family = shards
		}
	}
	if bytes.HasSuffix(what, []byte("unsubscribe")) {
		delete(v.subs[family], string(channel))
		return
	}
	if v.subs[family] == nil {
		v.subs[family] = map[string]struct{}{}
	}
	v.subs[family][string(channel)] = struct{}{}
}

// confirmations is how many a (un)subscription will be answered with.
func (v *vector) confirmations(args [][]byte) int {
	if len(args) > 1 {
		return len(args) - 1
	}
	family := channels
	switch args[0][0] | 0x20 {
	case 'p':
		family = patterns
	case 's':
		family = shards
	}
	return max(1, len(v.subs[family]))
}

// is compares a word of a command without regard to case.
func is(word []byte, lower string) bool {
	return len(word) == len(lower) && strings.EqualFold(string(word), lower)
}

// command encodes one request.
func command(args ...string) []byte {
	out := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		out = redcon.AppendBulkString(out, a)
	}
	return out
}
