package proxy

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// virtual are commands of which holdfast answers some itself.
var virtual = []string{
	lines("CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME"),
	lines("CLIENT SETNAME me", "CLIENT SETNAME you", "client getname", "CLIENT getName"),
	string(command("CLIENT", "SETNAME", "")) + lines("CLIENT GETNAME"),
	lines("CLIENT SETNAME me") + string(command("CLIENT", "SETNAME", "")) + lines("CLIENT GETNAME"),
	string(command("CLIENT", "SETNAME", "not allowed")) + lines("CLIENT GETNAME"),
	string(command("CLIENT", "SETNAME", "new\nline")) + lines("CLIENT GETNAME"),
	string(command("CLIENT", "SETNAME", "\x7f")) + lines("CLIENT GETNAME"),
	string(command("CLIENT", "SETNAME", "ümlaut")) + lines("CLIENT GETNAME"),
	string(command("CLIENT", "SETNAME", "!\"#~")) + lines("CLIENT GETNAME"),
	lines("CLIENT SETNAME", "CLIENT SETNAME a b", "CLIENT GETNAME a", "CLIENT", "CLIENT NOSUCH", "CLIENT GETNAME"),
	lines("CLIENT SETINFO lib-name x", "CLIENT SETINFO lib-ver 1", "CLIENT SETINFO nonsense x", "CLIENT SETINFO", "CLIENT SETINFO lib-name", "CLIENT GETNAME"),
	string(command("CLIENT", "SETINFO", "lib-name", "not allowed")) + string(command("CLIENT", "SETINFO", "LIB-VER", "a b")),
	lines("HELLO 3", "CLIENT GETNAME", "CLIENT SETNAME x", "CLIENT GETNAME", "HELLO 2", "CLIENT GETNAME", "RESET", "CLIENT GETNAME"),
	lines("HELLO 3 SETNAME me", "CLIENT GETNAME", "RESET", "CLIENT GETNAME", "HELLO 3", "CLIENT GETNAME"),
	lines("MULTI", "CLIENT SETNAME me", "CLIENT GETNAME", "EXEC", "CLIENT GETNAME"),
	lines("MULTI", "CLIENT SETNAME me", "DISCARD", "CLIENT GETNAME"),
	lines("CLIENT SETNAME me", "MULTI", "CLIENT GETNAME", "EXEC"),
	lines("CLIENT SETNAME me", "WATCH k", "CLIENT GETNAME", "CLIENT SETNAME you", "UNWATCH", "CLIENT GETNAME"),
	lines("SUBSCRIBE ch", "CLIENT GETNAME", "UNSUBSCRIBE ch", "CLIENT GETNAME"),
	"CLIENT SETNAME me\r\nCLIENT GETNAME\r\n" + lines("CLIENT GETNAME"),
	lines("SELECT 1", "SELECT 0", "SELECT 1", "SET k v", "SELECT 0", "GET k", "SELECT 1", "GET k"),
	lines("SELECT", "SELECT 1 2", "SELECT x", "SELECT -1", "SELECT 99", "SELECT 16", "SELECT 15", "SELECT 99999999999999999999"),
	lines("SELECT 2", "SET k two", "SELECT 3", "SET k three", "GET k", "SELECT 02", "GET k", "SELECT +3", "GET k"),
	string(command("SELECT", " 2")) + string(command("SELECT", "")) + string(command("SELECT", "2 ")),
	lines("SELECT 1", "SET k v", "SELECT 0", "MULTI", "SELECT 1", "GET k", "EXEC", "GET k"),
	lines("HELLO 3", "SELECT 1", "HELLO 2", "SET k v", "HELLO 3", "GET k", "GET nothing"),
}

// TestAnswersOfOursAreThoseOfRedis: to the byte.
func TestAnswersOfOursAreThoseOfRedis(t *testing.T) {
	direct, behind := realRedis(t), realRedis(t)
	w := newWorld(t, behind.Addr)
	for _, db := range []string{"0", "1", "2", "3"} { // shared upstreams are there
		c := w.dial()
		c.want(ok, "SELECT", db)
		c.want(pong, "PING")
	}
	for _, say := range virtual {
		for _, n := range []*redistest.Node{direct, behind} {
			w.do(n, "FLUSHALL")
		}
		k := newTalk(0)
		k.said = [][]byte{[]byte(say), command("QUIT")}
		want, err := k.with(t, direct.Addr)
		if err != nil {
			t.Fatalf("%q: the server itself: %v", say, err)
		}
		got, err := k.with(t, w.addr)
		if got != want || err != nil {
			t.Errorf("%q:\ndirect %q\n proxy %q %v", say, cropped(want), cropped(got), err)
		}
	}
}

// TestAnswersOfOursToStrangers: a server that wants a login answers nothing else
// before, whoever speaks for it.
func TestAnswersOfOursToStrangers(t *testing.T) {
	direct, behind := lockedRedis(t, "secret"), lockedRedis(t, "secret")
	for name, change := range map[string]func(*config.Config){
		"without a login of its own": func(*config.Config) {},
		"with one":                   func(cfg *config.Config) { cfg.Redis.Password = "secret" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, behind.Addr, change)
			in := w.dial()
			in.want(ok, "AUTH", "secret")
			in.want(pong, "PING")
			for _, say := range []string{
				lines("CLIENT SETNAME me", "CLIENT GETNAME", "SELECT 0", "SELECT 1", "PING", "GET k"),
				lines("AUTH secret", "CLIENT GETNAME", "CLIENT SETNAME me", "SELECT 1", "CLIENT GETNAME", "PING"),
				lines("CLIENT SETNAME me", "AUTH secret", "CLIENT GETNAME", "SELECT 1", "SELECT 0", "GET k"),
				lines("AUTH secret", "PING", "RESET", "PING", "CLIENT GETNAME", "SELECT 0", "AUTH secret", "GET k"),
				lines("HELLO 3", "HELLO 3 AUTH default secret", "CLIENT GETNAME", "HELLO 2", "CLIENT GETNAME", "GET k"),
				lines("AUTH wrong", "AUTH secret", "AUTH wrong", "PING"),
				"CLIENT SETNAME me\r\nPING\r\n" + lines("AUTH secret", "PING"),
			} {
				k := newTalk(0)
				k.said = [][]byte{[]byte(say), command("QUIT")}
				want, err := k.with(t, direct.Addr)
				if err != nil {
					t.Fatalf("%q: the server itself: %v", say, err)
				}
				got, err := k.with(t, w.addr)
				if got != want || err != nil {
					t.Errorf("%q:\ndirect %q\n proxy %q %v", say, cropped(want), cropped(got), err)
				}
			}
		})
	}
}

// TestNameIsAppliedWhenPinned: Redis knows it where it can be asked for it, and
// keeps it through a failover.
func TestNameIsAppliedWhenPinned(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	c, other := w.dial(), w.dial()
	other.want(ok, "CLIENT", "SETNAME", "other")
	c.want(ok, "CLIENT", "SETNAME", "me")
	if onShared := w.own() == 0; mode == config.Shared && !onShared {
		t.Error("a name alone has pinned its client")
	}
	inside := func(c *client, name string) {
		t.Helper()
		c.send(lines("MULTI", "CLIENT INFO", "EXEC"))
		c.expect(ok, queued)
		if got := c.read(); !strings.Contains(got, " name="+name+" ") {
			t.Errorf("%q is not called %q", got, name)
		}
	}
	inside(c, "me")
	inside(other, "other")
	w.move(two.Addr)
	inside(c, "me")
	inside(other, "other")
	c.want(bulk("me"), "CLIENT", "GETNAME")
	c.want("+RESET\r\n", "RESET")
	inside(c, "")
	c.want("$-1\r\n", "CLIENT", "GETNAME")
}

// TestNamesOfAServerThatKnowsMore: since 7.2 the library's name is kept too.
func TestNamesOfAServerThatKnowsMore(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	table := func(c *redistest.Conn, _ []string) {
		c.WriteRaw([]byte("*3\r\n" + commandRow("get", "+readonly") + commandRow("set", "+write") +
			"*10\r\n" + bulk("client") + ":-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*2\r\n" + commandRow("client|setinfo", "+noscript") + commandRow("client|setname", "+noscript")))
	}
	a.Handle("COMMAND", table)
	c := w.dial()
	c.send(lines("CLIENT SETNAME me", "CLIENT SETINFO lib-name lib", "CLIENT SETINFO LIB-VER 1.0", "CLIENT SETINFO nonsense x"))
	c.expect(ok, ok, ok, "-ERR Unrecognized option 'nonsense'\r\n")
	c.cmd("CLIENT", "SETINFO", "lib-name", "not allowed")
	c.expect("-ERR lib-name cannot contain spaces, newlines or special characters.\r\n")
	if own := w.own(); own != 0 {
		t.Errorf("%d sessions are pinned by %v", own, w.pins())
	}
	c.want(ok, "MULTI")
	var said []string
	for _, cmd := range a.Commands() {
		if cmd.Args[0] == "CLIENT" && len(cmd.Args) > 2 {
			said = append(said, strings.Join(cmd.Args[1:], " "))
		}
	}
	for _, want := range []string{"SETNAME me", "SETINFO lib-name lib", "SETINFO LIB-VER 1.0"} {
		if n := strings.Count(strings.Join(said, "\n"), want); n != 1 {
			t.Errorf("the node was told %q %d times: %q", want, n, said)
		}
	}
}

// commandRow is one command as COMMAND tells it.
func commandRow(name string, flags ...string) string {
	f := fmt.Sprintf("*%d\r\n", len(flags))
	for _, flag := range flags {
		f += flag + "\r\n"
	}
	return "*6\r\n" + bulk(name) + ":-2\r\n" + f + ":0\r\n:0\r\n:0\r\n"
}
