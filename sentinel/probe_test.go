package sentinel

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

func dialer() outside { return outside{dial: (&net.Dialer{}).DialContext} }

// TestProbe asks nodes in every condition.
func TestProbe(t *testing.T) {
	login := config.Login{Username: "holdfast", Password: "secret"}
	info := func(text string) redistest.Handler {
		return func(c *redistest.Conn, _ []string) { c.WriteBulkString(text) }
	}
	for _, c := range []struct {
		name  string
		login config.Login
		set   func(*redistest.ScriptedNode)
		want  verdict
		why   string
	}{
		{"master", config.Login{}, func(*redistest.ScriptedNode) {}, isMaster, "says role:master"},
		{"replica", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Change(func(st *redistest.NodeState) { st.Role, st.Master = "slave", "10.0.0.1:6379" })
		}, isReplica, "says role:slave"},
		{"replica that may not be asked INFO", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Change(func(st *redistest.NodeState) { st.Role, st.Master = "slave", "10.0.0.1:6379" })
			n.Handle("INFO", redistest.Error("NOPERM this user has no permissions to run the 'info' command"))
		}, isReplica, "says role:replica"},
		{"just changing", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("INFO", info("role:slave\r\n"))
		}, isReplica, "says role:slave"},
		{"before HELLO", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("HELLO", redistest.Error("ERR unknown command 'HELLO'"))
		}, isMaster, "says role:master"},
		{"before HELLO, with a login", login, func(n *redistest.ScriptedNode) {
			n.Require("holdfast", "secret")
			n.Handle("HELLO", redistest.Error("ERR unknown command 'HELLO'"))
		}, isMaster, "says role:master"},
		{"login", login, func(n *redistest.ScriptedNode) { n.Require("holdfast", "secret") }, isMaster, "says role:master"},
		{"loading", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("INFO", info("role:master\r\nloading:1\r\n"))
		}, isLoading, "is loading"},
		{"locked", config.Login{}, func(n *redistest.ScriptedNode) { n.Require("", "secret") }, isLocked, "wants a login"},
		{"wrong password", login, func(n *redistest.ScriptedNode) { n.Require("holdfast", "another") }, isMute, "WRONGPASS"},
		{"too many clients", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("HELLO", func(c *redistest.Conn, _ []string) {
				c.WriteError("ERR max number of clients reached")
				_ = c.Flush()
				c.Cut()
			})
		}, isMute, "max number of clients"},
		{"protected", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("", redistest.Error("DENIED Redis is running in protected mode"))
			n.Handle("HELLO", nil)
			n.Handle("INFO", nil)
		}, isMute, "DENIED"},
		{"garbage", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("HELLO", redistest.Raw("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, isMute, "cannot be asked"},
		{"silent", config.Login{}, func(n *redistest.ScriptedNode) { n.Silence(true) }, isSilent, "does not answer"},
		{"half an answer", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("INFO", redistest.Half("$400\r\n# Server\r\nrole:mas"))
		}, isSilent, "does not answer"},
		{"refused", config.Login{}, func(n *redistest.ScriptedNode) { n.Refuse() }, isGone, "connection refused"},
		{"cut", config.Login{}, func(n *redistest.ScriptedNode) { n.Handle("HELLO", redistest.Cut) }, isGone, "does not answer"},
		{"reset", config.Login{}, func(n *redistest.ScriptedNode) {
			n.Handle("HELLO", func(c *redistest.Conn, _ []string) { c.Reset() })
		}, isGone, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := redistest.NewScriptedNode(t)
			n.Change(func(st *redistest.NodeState) {
				st.RunID, st.Offset, st.Replicas = "abc", 42, []string{"10.0.0.2:6379", "10.0.0.3:6379"}
			})
			c.set(n)
			p := prober{outside: dialer(), login: c.login, timeout: 300 * time.Millisecond}.ask(t.Context(), n.Addr())
			if p.verdict != c.want || !strings.Contains(p.why, c.why) {
				t.Errorf("%s: %q, not %s: %q", p.verdict, p.why, c.want, c.why)
			}
			if strings.Contains(p.why, "secret") {
				t.Errorf("tells the password: %q", p.why)
			}
			if p.verdict == isMaster && (p.runID != "abc" || p.offset != 42 || p.attached != 2) {
				t.Errorf("read %+v", p)
			}
			if c.name != "half an answer" { // which hangs without reading
				eventually(t, "the connection is closed", func() bool { return n.Conns() == 0 })
			}
		})
	}
}

// A descriptor that we do not have says nothing about the master.
func TestProbeOwnFault(t *testing.T) {
	p := prober{timeout: time.Second, outside: outside{
		dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EMFILE}
		},
	}}
	if got := p.ask(t.Context(), "10.0.0.1:6379"); got.verdict != isMute {
		t.Errorf("%s: %s", got.verdict, got.why)
	}
	p.outside.dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.EHOSTUNREACH }
	if got := p.ask(t.Context(), "10.0.0.1:6379"); got.verdict != isSilent {
		t.Errorf("%s: %s", got.verdict, got.why)
	}
}

// A probe that is called off returns at once, whatever it is waiting for.
func TestProbeCalledOff(t *testing.T) {
	n := redistest.NewScriptedNode(t)
	n.Handle("HELLO", redistest.Hang)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan proof)
	go func() { done <- prober{outside: dialer(), timeout: time.Hour}.ask(ctx, n.Addr()) }()
	if _, err := n.AwaitCommand(t.Context(), "HELLO"); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("still asking")
	}
}

func TestReadInfo(t *testing.T) {
	info := make(map[string]string)
	readInfo("# Replication\r\nrole:master\r\nconnected_slaves:4\r\n"+
		"slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=0\r\n"+
		"slave1:ip=10.0.0.3,port=6379,state=online,offset=14,lag=4\r\n"+
		"slave2:ip=10.0.0.4,port=6379,state=wait_bgsave,offset=0,lag=0\r\n"+
		"slave3:ip=fd00::5,port=6379,state=online,offset=14,lag=1\r\n"+
		"slave4:ip=10.0.0.5,port=6379,state=online,offset=9,lag=2\r\nslave_priority:100\r\n", info)
	readInfo("# Keyspace\ndb0:keys=3,expires=0,avg_ttl=0\ndb15:keys=4,expires=1,avg_ttl=9\ndbx\n", info)
	if n := attached(info, lagging); n != 3 {
		t.Errorf("%d replicas attached", n)
	}
	if n := attached(info, prompt); n != 2 {
		t.Errorf("%d replicas keep the pace", n)
	}
	if n := keys(info); n != 7 {
		t.Errorf("%d keys", n)
	}
}

func TestErrorKinds(t *testing.T) {
	for _, err := range []error{errSpent, &net.OpError{Op: "read", Err: syscall.ECONNRESET}} {
		if !gone(err) || silent(err) || answered(err) {
			t.Errorf("%v", err)
		}
	}
	if err := errors.New("x"); gone(err) || silent(err) || answered(err) {
		t.Errorf("%v", err)
	}
}
