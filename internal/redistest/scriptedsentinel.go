package redistest

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// SentinelState is what a ScriptedSentinel believes.
type SentinelState struct {
	ID      string // SENTINEL MYID
	Tilt    bool
	Masters map[string]*MasterState // by name
}

// MasterState is a master as a Sentinel sees it. While a Sentinel leads a
// failover, from the promotion to its end, it answers GET-MASTER-ADDR-BY-NAME
// with the new address already, but SENTINEL MASTER, MASTERS and INFO with the
// old one, beside the new epoch: then Listed is the old address.
type MasterState struct {
	Addr      string // host:port, for GET-MASTER-ADDR-BY-NAME
	Listed    string // host:port, for SENTINEL MASTER, MASTERS and INFO; "": as Addr
	Epoch     uint64 // config-epoch
	Quorum    int
	RunID     string
	Flags     string            // "": master
	Fields    map[string]string // further or replaced fields: "failover-state"
	Replicas  []PeerState
	Sentinels []PeerState // the others
}

// PeerState is a replica or another Sentinel as a Sentinel sees it.
type PeerState struct {
	Addr   string // host:port
	ID     string // its run id
	Flags  string // "": slave or sentinel
	Fields map[string]string
}

// ScriptedSentinel is a scripted Sentinel: a Script that answers AUTH, CLIENT,
// HELLO, INFO, PING, ROLE, the subscribing commands, and of SENTINEL: CKQUORUM,
// FAILOVER, GET-MASTER-ADDR-BY-NAME, MASTER, MASTERS, MYID, REPLICAS, SENTINELS and
// SLAVES from its state. Handle replaces any of them ("SENTINEL MASTER"), Publish
// sends an event, Require sets the password.
type ScriptedSentinel struct {
	*Script

	mu    sync.Mutex
	state SentinelState
}

// NewScriptedSentinel starts a scripted Sentinel for a test, which has its end
// with it. It monitors nothing yet.
func NewScriptedSentinel(tb testing.TB) *ScriptedSentinel {
	s := &ScriptedSentinel{
		Script: NewScript(tb),
		state:  SentinelState{ID: newID(), Masters: make(map[string]*MasterState)},
	}
	s.speak(func() (mode, role string) { return "sentinel", "" })
	s.Handle("INFO", s.locked(s.info))
	s.Handle("ROLE", s.locked(s.role))
	s.Handle("SENTINEL MYID", s.locked(func(c *Conn, _ []string) { c.WriteBulkString(s.state.ID) }))
	s.Handle("SENTINEL MASTERS", s.locked(s.masters))
	s.Handle("SENTINEL", Error("ERR Unknown sentinel subcommand or wrong number of arguments"))
	for name, answer := range map[string]func(*Conn, string, *MasterState){
		"CKQUORUM":  ckquorum,
		"FAILOVER":  func(c *Conn, _ string, _ *MasterState) { c.WriteString("OK") },
		"MASTER":    func(c *Conn, name string, m *MasterState) { c.writeFields(m.fields(name)) },
		"REPLICAS":  func(c *Conn, _ string, m *MasterState) { c.writeReplicas(m) },
		"SLAVES":    func(c *Conn, _ string, m *MasterState) { c.writeReplicas(m) },
		"SENTINELS": func(c *Conn, _ string, m *MasterState) { c.writeSentinels(m) },
	} {
		s.Handle("SENTINEL "+name, s.locked(s.about(answer)))
	}
	s.Handle("SENTINEL GET-MASTER-ADDR-BY-NAME", s.locked(s.masterAddr))
	return s
}

// Change changes the state; the next command is answered from the new one.
func (s *ScriptedSentinel) Change(f func(*SentinelState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
}

// Switch makes to the address of the named master under this epoch and then
// publishes +switch-master, as a Sentinel that follows a failover does.
func (s *ScriptedSentinel) Switch(name, to string, epoch uint64) {
	var from string
	s.Change(func(st *SentinelState) {
		m := st.Masters[name]
		from = m.listed()
		m.Addr, m.Listed, m.Epoch = to, "", epoch
	})
	s.Publish("+switch-master", strings.Join([]string{name, spaced(from), spaced(to)}, " "))
}

// locked keeps the state as it is while a command is answered.
func (s *ScriptedSentinel) locked(h Handler) Handler {
	return func(c *Conn, args []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		h(c, args)
	}
}

// about is a SENTINEL subcommand whose argument is a master's name.
func (s *ScriptedSentinel) about(answer func(*Conn, string, *MasterState)) Handler {
	return func(c *Conn, args []string) {
		if len(args) != 3 {
			c.WriteError(fmt.Sprintf("ERR wrong number of arguments for 'sentinel|%s' command", strings.ToLower(args[1])))
			return
		}
		m := s.state.Masters[args[2]]
		if m == nil {
			c.WriteError("ERR No such master with that name")
			return
		}
		answer(c, args[2], m)
	}
}

// masterAddr answers a null for an unknown name, not an error like the others.
func (s *ScriptedSentinel) masterAddr(c *Conn, args []string) {
	m := s.state.Masters[args[len(args)-1]]
	if m == nil {
		c.WriteNullArray()
		return
	}
	host, port, _ := net.SplitHostPort(m.Addr)
	c.WriteStrings(host, port)
}

func (s *ScriptedSentinel) masters(c *Conn, _ []string) {
	c.WriteArray(len(s.state.Masters))
	for _, name := range s.names() {
		c.writeFields(s.state.Masters[name].fields(name))
	}
}

func (s *ScriptedSentinel) names() []string {
	return slices.Sorted(maps.Keys(s.state.Masters))
}

func (s *ScriptedSentinel) role(c *Conn, _ []string) {
	c.WriteArray(2)
	c.WriteBulkString("sentinel")
	c.WriteStrings(s.names()...)
}

func (s *ScriptedSentinel) info(c *Conn, _ []string) {
	tilt, since := 0, -1
	if s.state.Tilt {
		tilt, since = 1, 1
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Server\r\nredis_version:%s\r\nredis_mode:sentinel\r\nrun_id:%s\r\n\r\n", serverVersion, s.state.ID)
	fmt.Fprintf(&b, "# Sentinel\r\nsentinel_masters:%d\r\nsentinel_tilt:%d\r\nsentinel_tilt_since_seconds:%d\r\n",
		len(s.state.Masters), tilt, since)
	for i, name := range s.names() {
		m := s.state.Masters[name]
		status := "ok"
		for _, down := range []string{"s_down", "o_down"} { // the worse of the two is told
			if has(m.Flags, down) {
				status = strings.ReplaceAll(down, "_", "")
			}
		}
		fmt.Fprintf(&b, "master%d:name=%s,status=%s,address=%s,slaves=%d,sentinels=%d\r\n",
			i, name, status, m.listed(), len(m.Replicas), len(m.Sentinels)+1)
	}
	c.WriteBulkString(b.String())
}

// ckquorum counts the Sentinel itself and all others that are not down.
func ckquorum(c *Conn, _ string, m *MasterState) {
	usable, known := 1, 1+len(m.Sentinels)
	for _, p := range m.Sentinels {
		if !has(p.Flags, "s_down") {
			usable++
		}
	}
	switch {
	case usable < m.Quorum:
		c.WriteError(fmt.Sprintf("NOQUORUM %d usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master", usable))
	case usable < known/2+1:
		c.WriteError(fmt.Sprintf("NOQUORUM %d usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover", usable))
	default:
		c.WriteString(fmt.Sprintf("OK %d usable Sentinels. Quorum and failover authorization can be reached", usable))
	}
}

// has says whether a comma-separated list of flags has one.
func has(flags, flag string) bool { return slices.Contains(strings.Split(flags, ","), flag) }

func (m *MasterState) listed() string {
	if m.Listed != "" {
		return m.Listed
	}
	return m.Addr
}

// pair is a name and its value in a Sentinel's reply.
type pair struct{ name, value string }

func (m *MasterState) fields(name string) []pair {
	flags := m.Flags
	if flags == "" {
		flags = "master"
	}
	return with(slices.Concat(instance(name, m.listed(), m.RunID, flags), []pair{
		{"info-refresh", "1000"},
		{"role-reported", "master"},
		{"role-reported-time", "1000"},
		{"config-epoch", strconv.FormatUint(m.Epoch, 10)},
		{"num-slaves", strconv.Itoa(len(m.Replicas))},
		{"num-other-sentinels", strconv.Itoa(len(m.Sentinels))},
		{"quorum", strconv.Itoa(m.Quorum)},
		{"failover-timeout", "10000"},
		{"parallel-syncs", "1"},
	}), m.Fields)
}

// instance are the fields that all kinds of instances have.
func instance(name, addr, id, flags string) []pair {
	host, port, _ := net.SplitHostPort(addr)
	return []pair{
		{"name", name}, {"ip", host}, {"port", port}, {"runid", id}, {"flags", flags},
		{"link-pending-commands", "0"}, {"link-refcount", "1"},
		{"last-ping-sent", "0"}, {"last-ok-ping-reply", "100"}, {"last-ping-reply", "100"},
		{"down-after-milliseconds", "1000"},
	}
}

// with replaces fields and adds those that are new.
func with(list []pair, further map[string]string) []pair {
	for _, name := range slices.Sorted(maps.Keys(further)) {
		i := slices.IndexFunc(list, func(p pair) bool { return p.name == name })
		if i < 0 {
			list = append(list, pair{name, further[name]})
		} else {
			list[i].value = further[name]
		}
	}
	return list
}

func (c *Conn) writeFields(list []pair) {
	c.WriteMap(len(list))
	for _, p := range list {
		c.writePairs(p.name, p.value)
	}
}

// writeReplicas lists the replicas, under their addresses as names.
func (c *Conn) writeReplicas(m *MasterState) {
	host, port, _ := net.SplitHostPort(m.listed())
	c.WriteArray(len(m.Replicas))
	for _, r := range m.Replicas {
		c.writeFields(with(slices.Concat(instance(r.Addr, r.Addr, r.ID, r.flags("slave")), []pair{
			{"info-refresh", "1000"},
			{"role-reported", "slave"},
			{"role-reported-time", "1000"},
			{"master-link-down-time", "0"},
			{"master-link-status", "ok"},
			{"master-host", host},
			{"master-port", port},
			{"slave-priority", "100"},
			{"slave-repl-offset", "0"},
			{"replica-announced", "1"},
		}), r.Fields))
	}
}

// writeSentinels lists the other Sentinels, under their ids as names.
func (c *Conn) writeSentinels(m *MasterState) {
	c.WriteArray(len(m.Sentinels))
	for _, o := range m.Sentinels {
		c.writeFields(with(slices.Concat(instance(o.ID, o.Addr, o.ID, o.flags("sentinel")), []pair{
			{"last-hello-message", "100"},
			{"voted-leader", "?"},
			{"voted-leader-epoch", "0"},
		}), o.Fields))
	}
}

func (p PeerState) flags(kind string) string {
	if p.Flags == "" {
		return kind
	}
	return p.Flags
}
