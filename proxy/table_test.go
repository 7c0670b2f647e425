package proxy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/resp"
)

func TestTableOfARealServer(t *testing.T) {
	f := realTable(t, realRedis(t))
	m := &master{}
	m.table.Store(f.table)
	for words, read := range map[string]bool{
		"GET k": true, "get k": true, "MGET a b": true, "LRANGE l 0 -1": true, "EXISTS k": true, "SCAN 0": true, "KEYS *": true,
		"EVAL_RO x 0": true, "EVALSHA_RO x 0": true, "FCALL_RO x 0": true, "SORT_RO k": true, "XREAD STREAMS s 0": true, "TOUCH k": true,
		"OBJECT ENCODING k": true, "object Freq k": true, "XINFO STREAM s": true, "MEMORY USAGE k": true,
		"PING": true, "ping": true, "ECHO x": true, "TIME": true,
		"SET k v": false, "GETDEL k": false, "GETEX k": false, "INCR k": false, "EVAL x 0": false, "EVALSHA x 0": false, "FCALL x 0": false,
		"PUBLISH c m": false, "SPUBLISH c m": false, "SORT k": false, "GEORADIUS k": false, "BLPOP k 0": false,
		"XREADGROUP GROUP g c STREAMS s >": false, "CONFIG SET a b": false, "DEBUG SLEEP 0": false, "FLUSHALL": false, "SWAPDB 0 1": false,
		"XGROUP CREATE s g $": false, "OBJECT": false, "OBJECT NONSENSE k": false, "SCRIPT LOAD x": false, "FUNCTION DELETE x": false,
		"NOSUCHCOMMAND x": false, "": false, "REPLICAOF NO ONE": false, "RESTORE k 0 x": false,
	} {
		if got := m.readOnly([]byte(line(words))); got != read {
			t.Errorf("%q is read-only: %v (flags %v)", words, got, f.raw[strings.ToLower(strings.Fields(words + " -")[0])])
		}
	}
}

// TestNothingThatWritesIsReadOnly goes through all that the server has.
func TestNothingThatWritesIsReadOnly(t *testing.T) {
	f := realTable(t, realRedis(t))
	reads := 0
	for name, flags := range f.raw {
		cmd := command(append(strings.Split(name, "|"), "x")...)
		is := f.of(cmd)
		writes := slices.Contains(flags, "write") || slices.Contains(flags, "may_replicate") || slices.Contains(flags, "admin")
		if is&traitRead != 0 && (writes || !slices.Contains(flags, "readonly")) {
			t.Errorf("%s is read-only to us, and %v", name, flags)
		}
		if is&traitRead != 0 {
			reads++
		}
		if is&traitBlocking != 0 != slices.Contains(flags, "blocking") {
			t.Errorf("%s blocks: %v, and is %v", name, is&traitBlocking != 0, flags)
		}
	}
	if reads < 80 || len(f.raw) < 300 {
		t.Errorf("%d of %d commands are read-only: the table was not read", reads, len(f.raw))
	}
}

// TestTableOfAnOldServer: before 7.0 there are no subcommands in it, and in RESP3
// flags are a set.
func TestTableOfAnOldServer(t *testing.T) {
	six := array(
		array(bulk("get"), integer(2), "~2\r\n+readonly\r\n+fast\r\n", integer(1), integer(1), integer(1), array("+@read\r\n")),
		array(bulk("OBJECT"), integer(-2), array("+readonly\r\n"), integer(2), integer(2), integer(1)),
		array(bulk("xgroup"), integer(-2), array("+write\r\n"), integer(2), integer(2), integer(1)),
	)
	m := &master{}
	m.table.Store(parseTable(nil, []byte(six)))
	for words, read := range map[string]bool{"GET k": true, "OBJECT ENCODING k": true, "XGROUP CREATE s": false} {
		if got := m.readOnly([]byte(line(words))); got != read {
			t.Errorf("%q is read-only: %v", words, got)
		}
	}
}

// TestWithoutATableAllIsAWrite: a login that may not ask for it.
func TestWithoutATableAllIsAWrite(t *testing.T) {
	m := &master{}
	if m.readOnly([]byte(line("GET k"))) || m.reissue([]byte(line("BLPOP k 0")), 0) != nil {
		t.Error("a command is known although nothing is")
	}
	for _, reply := range []string{"", "-NOPERM\r\n", "*0\r\n", "*1\r\n*0\r\n", "*1\r\n$3\r\nget\r\n", array(array(bulk("get"))), "_\r\n"} {
		m.table.Store(parseTable(nil, []byte(reply)))
		if m.readOnly([]byte(line("GET k"))) {
			t.Errorf("GET is known to be read-only from %q", reply)
		}
	}
}

func TestRemainingTimeOfBlockingCommands(t *testing.T) {
	for _, tc := range []struct {
		cmd, want string
	}{
		{"BLPOP a b 10", "BLPOP a b 7.500"},
		{"brpop a 2.5", "brpop a 0.001"},
		{"BRPOPLPUSH a b 10", "BRPOPLPUSH a b 7.500"},
		{"BZPOPMIN a 10", "BZPOPMIN a 7.500"},
		{"BZPOPMAX a 1", "BZPOPMAX a 0.001"}, // overdue: asked once more, for the shortest time
		{"BLMOVE a b LEFT RIGHT 10", "BLMOVE a b LEFT RIGHT 7.500"},
		{"BLMPOP 10 1 a LEFT", "BLMPOP 7.500 1 a LEFT"},
		{"BZMPOP 10 1 a MIN", "BZMPOP 7.500 1 a MIN"},
		{"XREAD BLOCK 10000 STREAMS s $", "XREAD BLOCK 7500 STREAMS s $"},
		{"XREAD COUNT 1 block 1 STREAMS s $", "XREAD COUNT 1 block 1 STREAMS s $"},
		{"XREADGROUP GROUP g c BLOCK 10000 STREAMS s >", "XREADGROUP GROUP g c BLOCK 7500 STREAMS s >"},
		{"BLPOP a 0", "BLPOP a 0"}, // for ever
		{"XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s $"},
		{"XREADGROUP GROUP block 5 BLOCK 10000 STREAMS s >", "XREADGROUP GROUP block 5 BLOCK 7500 STREAMS s >"},
		{"XREAD BLOCK 10000 STREAMS block 5", "XREAD BLOCK 7500 STREAMS block 5"},
		{"BLPOP a nonsense", ""},
		{"BLPOP a -1", ""},
		{"BLPOP", ""},
		{"XREAD BLOCK", ""},
		{"XREAD STREAMS s $", ""},
		{"XREADGROUP GROUP g c STREAMS block 0", ""}, // does not block: a write
		{"XREADGROUP GROUP g block STREAMS s 0", ""},
		{"WAIT 1 0", ""},
		{"NOSUCHBLOCKING a 1", ""},
	} {
		var got []string
		for _, arg := range resp.Args(nil, remaining([]byte(line(tc.cmd)), 2500*time.Millisecond)) {
			got = append(got, string(arg))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s, after 2.5 s: %q, not %q", tc.cmd, got, tc.want)
		}
	}
}

// TestEveryBlockingCommandOfTheServerIsKnown: one that is not would be answered
// with UNCERTAIN, and not issued again.
func TestEveryBlockingCommandOfTheServerIsKnown(t *testing.T) {
	f := realTable(t, realRedis(t))
	for name, flags := range f.raw {
		if !slices.Contains(flags, "blocking") || classify([]byte(name)) == kindWait {
			continue
		}
		words := strings.Fields(map[string]string{
			"blmpop": "blmpop 10 1 a left", "bzmpop": "bzmpop 10 1 a min", "blmove": "blmove a b left left 10", "brpoplpush": "brpoplpush a b 10",
			"xread": "xread block 10 streams s $", "xreadgroup": "xreadgroup group g c block 10 streams s >",
		}[name])
		if len(words) == 0 {
			words = []string{name, "a", "10"}
		}
		if remaining(command(words...), time.Millisecond) == nil {
			t.Errorf("%s is not known", name)
		}
	}
}

// TestRemainingNeverWaitsForEver: 0 means for ever, so what is overdue must not
// become it.
func TestRemainingNeverWaitsForEver(t *testing.T) {
	for _, given := range []string{"0.0001", "0.001", "1", "2.5", "2.5001"} {
		args := resp.Args(nil, remaining([]byte(line("BLPOP a "+given)), 2500*time.Millisecond))
		if left, err := strconv.ParseFloat(string(args[2]), 64); err != nil || left <= 0 {
			t.Errorf("BLPOP a %s became %q", given, args[2])
		}
	}
	args := resp.Args(nil, remaining([]byte(line("XREAD BLOCK 1 STREAMS s $")), time.Hour))
	if string(args[2]) != "1" {
		t.Errorf("XREAD BLOCK 1 became %q", args[2])
	}
}
