package proxy

import (
	"strings"
	"testing"

	"holdfast/internal/redistest"
	"holdfast/resp"
)

var kinds = map[kind]string{
	kindAuth: "auth", kindHello: "hello", kindSelect: "select", kindClient: "client", kindMulti: "multi", kindExec: "exec",
	kindDiscard: "discard", kindWatch: "watch", kindUnwatch: "unwatch", kindSubscribe: "subscribe psubscribe ssubscribe",
	kindUnsubscribe: "unsubscribe punsubscribe sunsubscribe", kindMonitor: "monitor", kindReset: "reset", kindQuit: "quit",
	kindReadonly: "readonly", kindReadwrite: "readwrite", kindReplica: "sync psync replconf", kindWait: "wait waitaof",
	kindScript: "eval script", kindPlain: "get set evalsha eval_ro fcall publish pubsub blpop command config client2 xauth aut execx",
}

func TestClassifyKnowsNamesInAnyCase(t *testing.T) {
	for k, names := range kinds {
		for _, name := range strings.Fields(names) {
			for _, spelt := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
				if got := classify([]byte(spelt)); got != k {
					t.Errorf("%s is of kind %d, not %d", spelt, got, k)
				}
			}
		}
	}
	for _, none := range []string{"", "a", "aut", "authauthauthauth", strings.Repeat("x", 100), "auth\x00", "\xe1uth", "a@th", "a`th"} {
		if got := classify([]byte(none)); got != kindPlain {
			t.Errorf("%q is of kind %d", none, got)
		}
	}
}

// TestInlineAndMultibulkNamesAreTheSame: whatever way a command is written, it
// changes the connection alike.
func TestInlineAndMultibulkNamesAreTheSame(t *testing.T) {
	for _, frame := range []string{"SELECT 3\r\n", "  select 3\n", "\"SEL\\x45CT\" 3\r\n", "'select' 3\r\n", line("SELECT 3")} {
		if got := classify(resp.Name([]byte(frame))); got != kindSelect {
			t.Errorf("%q is of kind %d", frame, got)
		}
	}
}

// TestWhatIsSentAgainChangesOnlyTheConnection compares our list with the flags
// that the server gives to the same commands.
func TestWhatIsSentAgainChangesOnlyTheConnection(t *testing.T) {
	table := realTable(t, realRedis(t))
	for k, names := range kinds {
		for _, name := range strings.Fields(names) {
			flags, known := table.raw[name]
			if !known || !k.resendable() {
				continue
			}
			for _, f := range flags {
				if f == "write" || f == "may_replicate" || f == "admin" && name != "monitor" {
					t.Errorf("%s is sent again whatever the table says, and is %v", name, flags)
				}
			}
		}
	}
	for _, k := range []kind{kindPlain, kindExec, kindMulti, kindWait, kindScript, kindReplica, kindQuit} {
		if k.resendable() {
			t.Errorf("kind %d is sent again whatever the table says", k)
		}
	}
}

// flagged is the server's COMMAND, as we read it and as it is.
type flagged struct {
	*table
	raw map[string][]string
}

func realTable(t *testing.T, node *redistest.Node) flagged {
	t.Helper()
	c := dialTo(t, node.Addr)
	reply := []byte(c.ask("COMMAND"))
	f := flagged{table: parseTable(nil, reply), raw: map[string][]string{}}
	var walk func(cmds []byte)
	walk = func(cmds []byte) {
		for cmd := range resp.Elements(cmds) {
			var fields [][]byte
			for e := range resp.Elements(cmd) {
				fields = append(fields, e)
			}
			name, _ := resp.String(fields[0])
			var flags []string
			for e := range resp.Elements(fields[2]) {
				text, _ := resp.String(e)
				flags = append(flags, string(text))
			}
			f.raw[strings.ToLower(string(name))] = flags
			if len(fields) > 9 {
				walk(fields[9])
			}
		}
	}
	walk(reply)
	return f
}
