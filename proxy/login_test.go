package proxy

import (
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// lockedRedis is one real server that wants a password.
func lockedRedis(t *testing.T, password string, args ...string) *redistest.Node {
	t.Helper()
	return redistest.New(t, redistest.Options{Password: password, Args: args}).Nodes[0]
}

func withPassword(cfg *config.Config) { cfg.Listeners[0].Password = "secret" }

// TestListenerPasswordIsLikeRequirepass: a listener with a password, and a Redis
// with the same one, say the same to a client, byte for byte.
func TestListenerPasswordIsLikeRequirepass(t *testing.T) {
	direct, behind := lockedRedis(t, "secret"), realRedis(t)
	w := newWorld(t, behind.Addr, withPassword)
	in := line("AUTH secret")
	for name, say := range map[string]string{
		"nothing presented":     lines("GET k", "PING", "MULTI", "SUBSCRIBE ch", "COMMAND", "CLIENT SETNAME x"),
		"a wrong password":      lines("AUTH wrong", "AUTH default wrong", "AUTH somebody secret", "GET k", "AUTH secret", "SET k v", "GET k"),
		"the right one":         in + lines("PING", "AUTH secret", "AUTH wrong", "PING"),
		"by name":               lines("AUTH default secret", "PING"),
		"usage":                 lines("AUTH", "AUTH a b c", "PING"),
		"HELLO":                 lines("HELLO", "HELLO 3", "HELLO 2", "HELLO 3 AUTH default wrong", "HELLO 3 AUTH default secret", "GET nothing", "HELLO 2"),
		"HELLO, a version":      lines("HELLO 4", "HELLO x", "HELLO 4 AUTH default secret", "PING"),
		"HELLO, more":           lines("HELLO 3 AUTH default secret SETNAME me", "CLIENT GETNAME", "HELLO 3 NONSENSE"),
		"HELLO, a syntax error": lines("HELLO 3 NONSENSE", "HELLO 3 AUTH default", "HELLO 3 SETNAME", "PING"),
		"RESET":                 lines("RESET") + in + lines("SELECT 3", "SET k three", "RESET", "GET k", "AUTH secret", "GET k"),
		"QUIT":                  "",
		"inline":                "AUTH secret\r\nPING\r\n\r\n",
		"many arguments":        lines("MGET 1 2 3 4 5 6 7 8 9 10"),
		"a long argument":       string(command("ECHO", strings.Repeat("x", 20000))),
		"within the limits":     lines("MGET 1 2 3 4 5 6 7 8 9") + string(command("ECHO", strings.Repeat("x", 16384))),
		"without limits then":   in + lines("MGET 1 2 3 4 5 6 7 8 9 10") + string(command("ECHO", strings.Repeat("x", 100000))),
		"limits again":          in + lines("RESET", "MGET 1 2 3 4 5 6 7 8 9 10"),
		"a pipeline":            lines("GET k") + in + lines("SET k v", "GET k", "HELLO 3", "GET k"),
	} {
		for _, n := range []*redistest.Node{direct, behind} {
			w.do(n, "FLUSHALL")
		}
		k := newTalk(0)
		k.said = [][]byte{[]byte(say), command("QUIT")}
		want, err := k.with(t, direct.Addr)
		want = strings.ReplaceAll(want, "the HELLO AUTH", "the HELLO <proto> AUTH") // since 7.2
		if err != nil && !strings.Contains(want, "Protocol error") {                // of which the rest may be lost with a reset
			t.Fatalf("%s: the server itself: %v", name, err)
		}
		got, err := k.with(t, w.addr)
		if got != want || err != nil && !strings.Contains(want, "Protocol error") {
			t.Errorf("%s:\ndirect %q\n proxy %q %v", name, cropped(want), cropped(got), err)
		}
	}
}

// TestStrangersCostNoUpstream: who has not presented the password reaches no node.
func TestStrangersCostNoUpstream(t *testing.T) {
	w, a, _ := twoNodes(t, withPassword)
	before := len(a.Commands())
	for range 10 {
		c := w.dial()
		c.ask("AUTH", "wrong")
		c.ask("HELLO", "3")
		c.ask("SET", "k", "v")
	}
	w.onLoop(w.p.loops[0], func(l *loop) {
		if got := l.books().upstreams; got != 0 {
			t.Errorf("%d upstreams for strangers", got)
		}
	})
	for _, cmd := range a.Commands()[before:] {
		if line := strings.Join(cmd.Args, " "); line != "PING" && !strings.HasPrefix(line, "INFO") && !strings.HasPrefix(line, "HELLO") && !strings.HasPrefix(line, "CLIENT") {
			t.Errorf("the node received %q", line)
		}
	}
	if st := w.counters(); st.Refused["auth"] != 30 {
		t.Errorf("%+v", st)
	}
}

// TestListenerPasswordWithALoginOfItsOwn: clients show holdfast's password, and
// holdfast shows its own to a server that has another.
func TestListenerPasswordWithALoginOfItsOwn(t *testing.T) {
	node := lockedRedis(t, "theirs")
	w := newWorld(t, node.Addr, withPassword, func(cfg *config.Config) { cfg.Redis.Password = "theirs" })
	c := w.dial()
	c.wantPrefix("-NOAUTH ", "SET", "k", "v")
	c.want(ok, "AUTH", "secret")
	c.want(ok, "SET", "k", "v")
	c.want("+RESET\r\n", "RESET")
	c.wantPrefix("-NOAUTH ", "GET", "k")
	c.wantPrefix("%7\r\n", "HELLO", "3", "AUTH", "default", "secret")
	c.want(bulk("v"), "GET", "k")
}

func TestTrustedClientsNeedNoPassword(t *testing.T) {
	node := lockedRedis(t, "theirs")
	w := newWorld(t, node.Addr, func(cfg *config.Config) {
		cfg.Redis.Password, cfg.Listeners[0].Trust = "theirs", true
	})
	c := w.dial()
	c.want(ok, "SET", "k", "v")
	c.want("+RESET\r\n", "RESET")
	c.want(bulk("v"), "GET", "k")
	c.want(ok, "AUTH", "theirs")
	c.wantPrefix("-WRONGPASS ", "AUTH", "wrong")
}

// TestClientsAuthenticateThemselves: holdfast has no login, or does not lend it.
func TestClientsAuthenticateThemselves(t *testing.T) {
	for _, ownLogin := range []config.Secret{"", "theirs"} {
		node := lockedRedis(t, "theirs", strings.Fields("--user alice on >hers ~a:* +@all")...)
		w := newWorld(t, node.Addr, func(cfg *config.Config) { cfg.Redis.Password = ownLogin })
		c := w.dial()
		c.want("-NOAUTH Authentication required.\r\n", "GET", "k")
		c.wantPrefix("-WRONGPASS ", "AUTH", "wrong")
		c.wantPrefix("-WRONGPASS ", "AUTH", "alice", "wrong")
		c.wantPrefix("-NOAUTH HELLO", "HELLO", "3")
		c.want(ok, "AUTH", "alice", "hers")
		c.want(bulk("alice"), "ACL", "WHOAMI")
		c.want(ok, "SET", "a:k", "v")
		c.wantPrefix("-NOPERM ", "SET", "b:k", "v")
		c.want(ok, "AUTH", "theirs")
		c.want(bulk("default"), "ACL", "WHOAMI")
		c.wantPrefix("%7\r\n", "HELLO", "3", "AUTH", "alice", "hers", "SETNAME", "me")
		c.want(bulk("alice"), "ACL", "WHOAMI")
		c.send(lines("GET a:k", "AUTH default theirs", "ACL WHOAMI", "AUTH alice wrong", "ACL WHOAMI", "RESET", "ACL WHOAMI"))
		c.expect(bulk("v"), ok, bulk("default"))
		c.expectPrefix("-WRONGPASS ")
		c.expect(bulk("default"), "+RESET\r\n")
		c.expectPrefix("-NOAUTH ")
	}
}

// TestLoginIsCarried: the next node is told who the client is; ACLs are not
// replicated, and who is unknown there cannot be kept.
func TestLoginIsCarried(t *testing.T) {
	one := lockedRedis(t, "theirs", strings.Fields("--user alice on >hers ~* +@all --user bob on >his ~* +@all")...)
	two := lockedRedis(t, "theirs", strings.Fields("--user alice on >hers ~* +@all")...)
	w := newWorld(t, one.Addr, func(cfg *config.Config) { cfg.Redis.Password = "theirs" })
	alice, bob, nobody, admin := w.dial(), w.dial(), w.dial(), w.dial()
	alice.want(ok, "AUTH", "alice", "hers")
	bob.wantPrefix("%7\r\n", "HELLO", "3", "AUTH", "bob", "his")
	admin.want(ok, "AUTH", "theirs")
	nobody.wantPrefix("-NOAUTH ", "PING")
	w.move(two.Addr)
	alice.want(bulk("alice"), "ACL", "WHOAMI")
	admin.want(bulk("default"), "ACL", "WHOAMI")
	nobody.wantPrefix("-NOAUTH ", "PING")
	bob.cmd("PING")
	bob.expectEnd()
	if st := w.counters(); st.Closed["login"] != 1 {
		t.Errorf("%+v", st)
	}
}
