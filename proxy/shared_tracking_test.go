package proxy

import (
	"strings"
	"testing"
)

// answered stands where a client waits until everything is.
const answered = "|"

// TestTrackedConnectionIsNobodyElses: Redis keeps what a connection has read while
// it was tracked, also when tracking is off again; who tracks on it next would be
// told of the other's keys.
func TestTrackedConnectionIsNobodyElses(t *testing.T) {
	big := string(command("SET", "big", strings.Repeat("b", 1<<20)))
	for name, say := range map[string]string{
		"plainly":                 lines("HELLO 3", "CLIENT TRACKING on", "GET secret", "CLIENT TRACKING off"),
		"in plain words":          lines("HELLO 3") + "CLIENT TRACKING on\r\n" + lines("GET secret", "CLIENT TRACKING off"),
		"all in plain words":      lines("HELLO 3") + "CLIENT TRACKING on\r\nGET secret\r\nCLIENT TRACKING off\r\n",
		"behind a large reply":    big + lines("HELLO 3", "GET big") + answered + lines("CLIENT TRACKING on", "GET secret", "CLIENT TRACKING off"),
		"in a transaction":        lines("HELLO 3", "MULTI", "CLIENT TRACKING on", "GET secret", "CLIENT TRACKING off", "EXEC"),
		"ended by RESET":          lines("HELLO 3") + "CLIENT TRACKING on\r\n" + lines("GET secret", "RESET", "HELLO 3"),
		"while WATCH is in force": lines("HELLO 3", "WATCH w", "CLIENT TRACKING on", "GET secret", "CLIENT TRACKING off", "UNWATCH"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, realRedis(t).Addr)
			writer := w.dial()
			writer.want(ok, "SET", "secret", "1")
			var all []*client
			for range 4 { // before, so that they find the connection that is given back last
				d := w.dial()
				d.wantPrefix("%7", "HELLO", "3")
				all = append(all, d)
			}
			c := w.dial()
			for part := range strings.SplitSeq(say, answered) {
				c.send(part + line("ECHO end"))
				for c.read() != bulk("end") {
				}
			}
			for _, d := range all {
				d.want(ok, "CLIENT", "TRACKING", "on")
				d.want("_\r\n", "GET", "own")
			}
			writer.want(ok, "SET", "secret", "2")
			writer.want(ok, "SET", "own", "1")
			for _, d := range all {
				d.expect(push(bulk("invalidate"), array(bulk("own"))))
			}
		})
	}
}

// TestForGoodIsForGood whatever the command is written like, and whatever else the
// session is pinned for.
func TestForGoodIsForGood(t *testing.T) {
	onlyShared(t)
	big := string(command("SET", "big", strings.Repeat("b", 1<<20))) + lines("GET big") + answered
	for name, say := range map[string]string{
		"in plain words":       "CLIENT ID\r\n",
		"in plain words, more": "CLIENT NO-TOUCH on\r\n",
		"an unknown command":   "NOSUCH x\r\n",
		"behind a large reply": big + lines("CLIENT ID"),
		"behind it, unknown":   big + lines("NOSUCH x"),
		"READONLY":             big + lines("READONLY"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, realRedis(t).Addr)
			w.dial().want(pong, "PING")
			c := w.dial()
			for part := range strings.SplitSeq(say+answered+strings.Repeat(line("PING"), 200), answered) {
				c.send(part + line("ECHO end"))
				for c.read() != bulk("end") {
				}
			}
			if w.own() != 1 {
				t.Errorf("it has gone back; pins %v", w.pins())
			}
		})
	}
}
