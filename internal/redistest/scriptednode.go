package redistest

import (
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// NodeState is what a ScriptedNode says of itself.
type NodeState struct {
	Role     string   // "master" or "slave", as in ROLE and INFO; HELLO says "replica"
	RunID    string   // INFO server
	Offset   int64    // replication offset
	Replicas []string // of a master: host:port
	Master   string   // of a slave: host:port of the master that it replicates
	LinkDown bool     // of a slave: it does not reach its master
}

// ScriptedNode is a scripted data node: a Script that answers AUTH, CLIENT,
// COMMAND, ECHO, GET, HELLO, INFO, PING, QUIT, REPLICAOF, ROLE, SELECT, SET and
// the subscribing commands from its state. Handle replaces any of them. Require
// (of Script) sets the password.
type ScriptedNode struct {
	*Script

	mu    sync.Mutex
	state NodeState
	data  map[string]string
}

// NewScriptedNode starts a scripted master for a test, and closes it at the
// test's end.
func NewScriptedNode(tb testing.TB) *ScriptedNode {
	n := &ScriptedNode{
		Script: NewScript(tb),
		state:  NodeState{Role: "master", RunID: newID()},
		data:   make(map[string]string),
	}
	n.speak(func() (mode, role string) {
		if n.State().Role == "master" {
			return "standalone", "master"
		}
		return "standalone", "replica"
	})
	n.Handle("SELECT", OK)
	n.Handle("ROLE", n.role)
	n.Handle("INFO", n.info)
	n.Handle("REPLICAOF", n.replicaOf)
	n.Handle("SLAVEOF", n.replicaOf)
	n.Handle("GET", n.get)
	n.Handle("SET", n.set)
	return n
}

// Change changes the state; the next command is answered from the new one.
func (n *ScriptedNode) Change(f func(*NodeState)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.state)
}

// State returns the state as it is; its slices are not to be changed.
func (n *ScriptedNode) State() NodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// Data returns a copy of everything that was SET.
func (n *ScriptedNode) Data() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.data)
}

func (n *ScriptedNode) role(c *Conn, _ []string) {
	st := n.State()
	if st.Role == "master" {
		c.WriteArray(3)
		c.WriteBulkString("master")
		c.WriteInt64(st.Offset)
		c.WriteArray(len(st.Replicas))
		for _, r := range st.Replicas {
			host, port, _ := net.SplitHostPort(r)
			c.WriteStrings(host, port, fmt.Sprint(st.Offset))
		}
		return
	}
	host, port, _ := net.SplitHostPort(st.Master)
	number, _ := strconv.Atoi(port) // 0 while it replicates nobody
	link := "connected"
	if st.LinkDown {
		link = "connect"
	}
	c.WriteArray(5)
	c.WriteBulkString(st.Role)
	c.WriteBulkString(host)
	c.WriteInt(number)
	c.WriteBulkString(link)
	c.WriteInt64(st.Offset)
}

// info answers the server and the replication section, whichever is asked for.
func (n *ScriptedNode) info(c *Conn, _ []string) {
	st := n.State()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nrun_id:%s\r\ntcp_port:%s",
		serverVersion, st.RunID, port(n.Addr()))
	line("\r\n# Replication\r\nrole:%s", st.Role)
	if st.Role != "master" {
		host, port, _ := net.SplitHostPort(st.Master)
		link := "up"
		if st.LinkDown {
			link = "down"
		}
		line("master_host:%s\r\nmaster_port:%s\r\nmaster_link_status:%s", host, port, link)
		line("slave_repl_offset:%d\r\nslave_priority:100\r\nslave_read_only:1", st.Offset)
	}
	line("connected_slaves:%d", len(st.Replicas))
	for i, r := range st.Replicas {
		host, port, _ := net.SplitHostPort(r)
		line("slave%d:ip=%s,port=%s,state=online,offset=%d,lag=0", i, host, port, st.Offset)
	}
	line("master_failover_state:no-failover\r\nmaster_replid:%040d\r\nmaster_repl_offset:%d", 0, st.Offset)
	c.WriteBulkString(b.String())
}

// replicaOf turns the node into a replica, or with NO ONE into a master.
func (n *ScriptedNode) replicaOf(c *Conn, args []string) {
	if len(args) != 3 {
		c.WriteError("ERR wrong number of arguments for 'replicaof' command")
		return
	}
	n.Change(func(st *NodeState) {
		if strings.EqualFold(args[1]+args[2], "noone") {
			st.Role, st.Master = "master", ""
			return
		}
		st.Role, st.Master, st.Replicas = "slave", net.JoinHostPort(args[1], args[2]), nil
	})
	c.WriteString("OK")
}

func (n *ScriptedNode) get(c *Conn, args []string) {
	if len(args) != 2 {
		c.WriteError("ERR wrong number of arguments for 'get' command")
		return
	}
	n.mu.Lock()
	value, ok := n.data[args[1]]
	n.mu.Unlock()
	if !ok {
		c.WriteNull()
		return
	}
	c.WriteBulkString(value)
}

// set takes no options; a replica is read-only.
func (n *ScriptedNode) set(c *Conn, args []string) {
	if len(args) != 3 {
		c.WriteError("ERR syntax error")
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Role != "master" {
		c.WriteError("READONLY You can't write against a read only replica.")
		return
	}
	n.data[args[1]] = args[2]
	c.WriteString("OK")
}
