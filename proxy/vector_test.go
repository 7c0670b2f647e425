package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/resp"
)

// replayed is what a vector tells the next upstream, one line per command.
func replayed(v *vector) (list []string) {
	for _, st := range v.replay() {
		rest := st.cmd
		for len(rest) > 0 {
			var req resp.Request
			n, done, err := req.Scan(rest)
			if !done || err != nil {
				return append(list, fmt.Sprintf("not a request: %q", rest))
			}
			var words []string
			for _, a := range resp.Args(nil, rest[:n]) {
				words = append(words, string(a))
			}
			list = append(list, strings.Join(words, " "))
			rest = rest[n:]
		}
	}
	return list
}

// acks lets Redis accept commands, one after the other.
func acks(v *vector, all ...string) *vector {
	for _, words := range all {
		cmd := []byte(line(words))
		v.acked(classify(resp.Name(cmd)), cmd)
	}
	return v
}

func TestVectorOfEachCommand(t *testing.T) {
	for commands, want := range map[string]string{
		"":                                  "",
		"SELECT 3":                          "SELECT 3",
		"SELECT 3;SELECT 0":                 "",
		"select 7":                          "SELECT 7",
		"CLIENT SETNAME me":                 "CLIENT SETNAME me",
		"client setname a;CLIENT SETNAME b": "CLIENT SETNAME b",
		"HELLO 3 AUTH u p SETNAME me":       "CLIENT SETNAME me",
		"HELLO 3 SETNAME me;HELLO 2":        "CLIENT SETNAME me",
		"CLIENT SETINFO LIB-NAME x":         "CLIENT SETINFO LIB-NAME x",
		"CLIENT SETINFO lib-ver 1;CLIENT SETINFO LIB-NAME x": "CLIENT SETINFO LIB-NAME x;CLIENT SETINFO lib-ver 1",
		"CLIENT CAPA redirect":                               "CLIENT CAPA redirect",
		"CLIENT NO-EVICT on":                                 "CLIENT NO-EVICT on",
		"CLIENT NO-EVICT on;CLIENT NO-EVICT OFF":             "",
		"CLIENT NO-TOUCH ON":                                 "CLIENT NO-TOUCH ON",
		"CLIENT TRACKING on BCAST PREFIX a PREFIX b":         "CLIENT TRACKING on BCAST PREFIX a PREFIX b",
		"CLIENT TRACKING on;CLIENT TRACKING off":             "",
		"CLIENT CACHING yes":                                 "",
		"CLIENT GETNAME":                                     "",
		"CLIENT ID":                                          "",
		"CLIENT KILL x":                                      "",
		"READONLY":                                           "READONLY",
		"READONLY;READWRITE":                                 "",
		"MONITOR":                                            "MONITOR",
		"WATCH a b":                                          "", // never: it could not be the same
		"WATCH a;UNWATCH":                                    "",
		"AUTH p":                                             "", // part of the login
	} {
		v := &vector{}
		if commands != "" {
			acks(v, strings.Split(commands, ";")...)
		}
		if got := strings.Join(replayed(v), ";"); got != want {
			t.Errorf("%s: replayed as %q, not %q", commands, got, want)
		}
	}
	if steps := (*vector)(nil).replay(); steps != nil {
		t.Errorf("a fresh connection is replayed as %v", steps)
	}
}

func TestVectorEmptyNameIsNoName(t *testing.T) {
	v := acks(&vector{}, "CLIENT SETNAME me")
	v.acked(kindClient, command("CLIENT", "SETNAME", ""))
	if got := replayed(v); len(got) > 0 {
		t.Errorf("replayed as %q", got)
	}
}

func TestVectorLogin(t *testing.T) {
	for commands, want := range map[string]struct {
		user, pass string
		proto      int
	}{
		"AUTH secret":                            {"default", "secret", 0},
		"AUTH alice hers":                        {"alice", "hers", 0},
		"AUTH alice hers;AUTH secret":            {"default", "secret", 0},
		"HELLO 3":                                {"", "", 3},
		"HELLO 3 AUTH alice hers":                {"alice", "hers", 3},
		"HELLO 2 SETNAME auth AUTH alice hers":   {"alice", "hers", 2},
		"hello 3 auth alice hers setname x":      {"alice", "hers", 3},
		"HELLO 3 AUTH alice hers;HELLO":          {"alice", "hers", 3},
		"HELLO 3 AUTH auth setname SETNAME auth": {"auth", "setname", 3},
	} {
		v := acks(&vector{}, strings.Split(commands, ";")...)
		if v.login != (want.user != "") || v.user != want.user || v.pass != want.pass || v.proto != want.proto || v.resp3() != (want.proto == 3) {
			t.Errorf("%s: login %v %q %q, proto %d", commands, v.login, v.user, v.pass, v.proto)
		}
	}
}

// TestReplayOrder: what RESP2 forbids to a subscriber comes before the
// subscriptions, what a transaction would queue before MULTI, silence last.
func TestReplayOrder(t *testing.T) {
	v := acks(&vector{}, "READONLY", "CLIENT TRACKING on", "CLIENT NO-TOUCH on", "SELECT 2", "MONITOR", "CLIENT NO-EVICT on",
		"CLIENT SETINFO LIB-NAME x", "CLIENT SETNAME me")
	v.confirmed([]byte("ssubscribe"), []byte("s"))
	v.confirmed([]byte("psubscribe"), []byte("p*"))
	v.confirmed([]byte("subscribe"), []byte("c"))
	v.begun()
	v.queued(kindPlain, []byte(line("SET k v")), 1<<20)
	v.mute = true
	got := replayed(v)
	want := []string{"CLIENT SETNAME me", "CLIENT SETINFO LIB-NAME x", "CLIENT NO-EVICT on", "CLIENT NO-TOUCH on", "SELECT 2",
		"CLIENT TRACKING on", "READONLY", "MONITOR", "SUBSCRIBE c", "PSUBSCRIBE p*", "SSUBSCRIBE s", "MULTI", "SET k v", "CLIENT REPLY OFF"}
	if !slices.Equal(got, want) {
		t.Errorf("replayed as %q,\nnot %q", got, want)
	}
}

// TestReplayCountsItsAnswers: as many as the commands and channels in it.
func TestReplayCountsItsAnswers(t *testing.T) {
	v := acks(&vector{}, "SELECT 2")
	for i := range 3*subscribeBatch + 7 {
		v.confirmed([]byte("subscribe"), fmt.Appendf(nil, "channel-%d", i))
	}
	v.begun()
	for range 5 {
		v.queued(kindPlain, []byte(line("SET k v")), 1<<20)
	}
	channels, largest := 0, 0
	for _, st := range v.replay() {
		args := resp.Args(nil, st.cmd)
		if name := string(args[0]); name == "SUBSCRIBE" {
			channels += st.replies
			largest = max(largest, len(args)-1)
			if st.replies != len(args)-1 {
				t.Errorf("%d channels are answered with %d confirmations", len(args)-1, st.replies)
			}
		} else if name == "SET" && st.replies != 5 || name != "SET" && st.replies != 1 {
			t.Errorf("%s is answered %d times", name, st.replies)
		}
	}
	if channels != 3*subscribeBatch+7 || largest > subscribeBatch {
		t.Errorf("%d channels, %d at a time", channels, largest)
	}
}

func TestSubscriptionsAreCountedByFamily(t *testing.T) {
	v := &vector{}
	for _, what := range []string{"subscribe", "psubscribe", "ssubscribe"} {
		v.confirmed([]byte(what), []byte("x"))
		v.confirmed([]byte(what), []byte("x"))
	}
	if !v.subscribed() || !v.listens() || len(v.subs[channels]) != 1 || len(v.subs[patterns]) != 1 || len(v.subs[shards]) != 1 {
		t.Fatalf("%v", v.subs)
	}
	v.confirmed([]byte("unsubscribe"), []byte("x"))
	v.confirmed([]byte("unsubscribe"), nil)
	if len(v.subs[channels]) != 0 || len(v.subs[patterns]) != 1 || len(v.subs[shards]) != 1 {
		t.Fatalf("%v", v.subs)
	}
	v.confirmed([]byte("sunsubscribe"), []byte("x"))
	v.confirmed([]byte("punsubscribe"), []byte("x"))
	if v.subscribed() || v.listens() {
		t.Fatalf("%v", v.subs)
	}
	v.confirmed(nil, nil) // a server that says nothing
}

func TestConfirmationsToExpect(t *testing.T) {
	v := &vector{}
	for _, ch := range []string{"a", "b", "c"} {
		v.confirmed([]byte("subscribe"), []byte(ch))
	}
	v.confirmed([]byte("psubscribe"), []byte("p"))
	for words, want := range map[string]int{
		"SUBSCRIBE a": 1, "SUBSCRIBE a b a": 3, "PSUBSCRIBE x y": 2, "UNSUBSCRIBE x": 1, "UNSUBSCRIBE": 3, "unsubscribe": 3,
		"PUNSUBSCRIBE": 1, "SUNSUBSCRIBE": 1, "punsubscribe a b": 2,
	} {
		if got := v.confirmations(resp.Args(nil, []byte(line(words)))); got != want {
			t.Errorf("%s is confirmed %d times, not %d", words, got, want)
		}
	}
}

// TestExecRunsOnlyWhatItSays: state inside a transaction counts if EXEC ran it
// and it did not fail.
func TestExecRunsOnlyWhatItSays(t *testing.T) {
	for reply, want := range map[string]string{
		array(ok, ok, ok):                      "CLIENT SETNAME me;SELECT 5",
		array(ok, "-ERR out of range\r\n", ok): "CLIENT SETNAME me;SELECT 1",
		array("-ERR\r\n", ok, "-ERR\r\n"):      "SELECT 5",
		"*-1\r\n":                              "SELECT 1",
		"_\r\n":                                "SELECT 1",
		"-EXECABORT no\r\n":                    "SELECT 1",
		"":                                     "CLIENT SETNAME me;SELECT 5", // too large to look at
	} {
		v := acks(&vector{}, "SELECT 1", "WATCH k")
		v.begun()
		for _, words := range []string{"SET k v", "SELECT 5", "CLIENT SETNAME me"} {
			cmd := []byte(line(words))
			v.queued(classify(resp.Name(cmd)), cmd, 1<<20)
		}
		v.executed([]byte(reply))
		if got := strings.Join(replayed(v), ";"); got != want {
			t.Errorf("EXEC answered %q: replayed as %q, not %q", reply, got, want)
		}
		if v.multi != nil || v.watching || v.broken {
			t.Errorf("EXEC answered %q: %+v", reply, v)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	v := &vector{}
	v.begun()
	set := []byte(line("SET k v"))
	for range 10 {
		v.queued(kindPlain, set, 3*len(set))
	}
	if len(v.multi.queue) > 3*len(set) || !v.multi.lost {
		t.Errorf("%d bytes are kept", len(v.multi.queue))
	}
	if got := replayed(v); len(got) != 2 || got[0] != "MULTI" || got[1] != "HOLDFAST.QUEUE.NOT.KEPT" {
		t.Errorf("replayed as %q", got)
	}
	v.executed(nil)
	if got := replayed(v); len(got) > 0 {
		t.Errorf("replayed as %q", got)
	}
}

func TestShedCommandPoisonsOrEndsTheTransaction(t *testing.T) {
	for k, want := range map[kind]string{
		kindPlain: "MULTI;HOLDFAST.QUEUE.NOT.KEPT", kindSelect: "MULTI;HOLDFAST.QUEUE.NOT.KEPT",
		kindExec: "", kindDiscard: "", kindNullExec: "",
	} {
		v := &vector{}
		v.begun()
		v.queued(kindPlain, []byte(line("SET k v")), 1<<20)
		v.shed(k)
		if got := strings.Join(replayed(v), ";"); got != want {
			t.Errorf("kind %d: replayed as %q, not %q", k, got, want)
		}
	}
	(*vector)(nil).shed(kindPlain)
	v := &vector{}
	if v.shed(kindPlain); v.multi != nil {
		t.Error("a transaction begins where there was none")
	}
}

func TestRedirectedTrackingIsSeen(t *testing.T) {
	if !acks(&vector{}, "CLIENT TRACKING on redirect 7").redirects() || acks(&vector{}, "CLIENT TRACKING on BCAST").redirects() || (&vector{}).redirects() {
		t.Error("REDIRECT is not seen, or seen where there is none")
	}
}
