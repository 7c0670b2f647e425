package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// held is the most that any session of the loop keeps of what was sent and of
// what is to be given, in bytes.
func (w *world) held() (in, out int) {
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			for _, slot := range l.slots {
				if s := slot.s; s != nil {
					out = max(out, cap(s.out))
					in = max(in, cap(s.in))
					if s.pend != nil {
						in = max(in, cap(s.pend.log))
					}
				}
			}
		})
	}
	return in, out
}

// TestHugeValuesAreNotKept sends a value in both directions and looks, on the
// way, at how much of it is kept.
func TestHugeValuesAreNotKept(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 20 << 20
	}
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c := w.dial()
	c.want(pong, "PING")
	block := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	most := 0
	look := func(at int) {
		if at%(4<<20) == 0 {
			in, out := w.held()
			most = max(most, in, out)
		}
	}
	c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", size))
	sum := sha256.New()
	for at := 0; at < size; at += len(block) {
		block[0]++
		sum.Write(block)
		c.send(string(block))
		look(at)
	}
	c.send("\r\n")
	c.expect(ok)
	want := sum.Sum(nil)

	sum.Reset()
	c.cmd("GET", "k")
	c.nc.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, len(fmt.Sprintf("$%d\r\n", size)))
	if _, err := io.ReadFull(c.nc, head); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < size; at += len(block) {
		if _, err := io.ReadFull(c.nc, block); err != nil {
			t.Fatal(err)
		}
		sum.Write(block)
		look(at)
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		t.Error("what came back is not what was sent")
	}
	c.expectPrefixOfRest("\r\n")
	if most > 2<<20 {
		t.Errorf("the session kept %d bytes of %d", most, size)
	}
	c.want(pong, "PING")
}

// expectPrefixOfRest reads bytes that are no frame of their own.
func (c *client) expectPrefixOfRest(want string) {
	c.t.Helper()
	for len(c.in) < len(want) {
		if err := c.fill(); err != nil {
			c.t.Fatal(err)
		}
	}
	if got := string(c.in[:len(want)]); got != want {
		c.t.Fatalf("received %q, not %q", got, want)
	}
	c.in = c.in[len(want):]
}

// TestPipelineThatIsNotReadBeforeItIsSent: Redis itself takes all of it and
// keeps the replies, so a client that does this must not get stuck here.
func TestPipelineThatIsNotReadBeforeItIsSent(t *testing.T) {
	commands, value := 60000, strings.Repeat("v", 1000)
	if testing.Short() {
		commands = 20000
	}
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c := w.dial()
	c.want(ok, "SET", "k", value)
	c.send(strings.Repeat(line("GET k")+line("INCR n"), commands/2))
	if in, out := w.held(); in > 8<<20 || out > 4<<20 {
		t.Errorf("while nothing is read, %d bytes are kept of what was sent and %d of what is to be given", in, out)
	}
	for i := range commands / 2 {
		c.expect(bulk(value), integer(i+1))
	}
	c.want(pong, "PING")
}

// TestLargeCommandsInAPipeline: those that are passed on by counting stand
// between others, and everything keeps its order.
func TestLargeCommandsInAPipeline(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c := w.dial()
	var out bytes.Buffer
	for i := range 20 {
		out.Write(command("SET", fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i%10), 50000+i*20000)))
		out.WriteString(line("INCR n"))
	}
	c.send(out.String())
	for i := range 20 {
		c.expect(ok, integer(i+1))
	}
	for i := range 20 {
		c.want(bulk(strings.Repeat(fmt.Sprint(i%10), 50000+i*20000)), "GET", fmt.Sprint("k", i))
	}
}

// TestSlowReaderKeepsLittleAndLosesNothing: a client that does not read is not
// read for; the pressure reaches the server.
func TestSlowReaderKeepsLittleAndLosesNothing(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	big := strings.Repeat("v", 5<<20)
	d.want(ok, "SET", "k", big)
	c.send(strings.Repeat(line("GET k"), 8))
	eventually(t, "the replies to stand", func() bool {
		_, out := w.held()
		return out > 1<<20
	})
	d.want(pong, "PING") // nobody else waits for it
	most := 4 << 20
	if mode == config.Shared {
		most = 64 << 20 // while it waited behind
	}
	if _, out := w.held(); out > most {
		t.Errorf("%d bytes are kept for a client that does not read", out)
	}
	for range 8 {
		c.expect(bulk(big))
	}
	c.want(pong, "PING")
	eventually(t, "the buffer to be given back", func() bool {
		_, out := w.held()
		return out <= smallBuffer
	})
}

// TestSlowSubscriberIsCut: Redis gives up on a subscriber that does not read, and
// so does holdfast. To subscribe again in silence would hide what was lost.
func TestSlowSubscriberIsCut(t *testing.T) {
	node := realRedis(t, "--client-output-buffer-limit", "pubsub 2mb 1mb 1")
	w := newWorld(t, node.Addr)
	c, d := w.dial(), w.dial()
	c.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
	message := strings.Repeat("m", 100<<10)
	eventually(t, "Redis to give up", func() bool { return d.ask("PUBLISH", "ch", message) == integer(0) })
	if _, out := w.held(); out > 4<<20 {
		t.Errorf("%d bytes are kept for a subscriber that does not read", out)
	}
	received := 0
	for {
		frame, err := c.next()
		if err != nil {
			break
		}
		if frame != array(bulk("message"), bulk("ch"), bulk(message)) {
			t.Fatalf("received %q", cropped(frame))
		}
		received++
	}
	d.want(integer(0), "PUBLISH", "ch", "unheard")
	if st := w.counters(); st.Closed["slow"] != 1 {
		t.Errorf("%d messages were received, %+v", received, st)
	}
}

// TestMemoryOfHeldClientsIsBounded: what many clients send while there is no
// master stands in their sockets.
func TestMemoryOfHeldClientsIsBounded(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) {
		cfg.Failover.FenceTimeout = config.Duration(patience)
	})
	var clients []*client
	for range 4 {
		c := w.dial()
		c.want(pong, "PING")
		clients = append(clients, c)
	}
	w.fence()
	chunk := []byte(strings.Repeat(string(command("SET", "k", strings.Repeat("v", 1000))), 1000))
	for _, c := range clients {
		c.nc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			if _, err := c.nc.Write(chunk); err != nil {
				break // its socket takes no more
			}
		}
	}
	if in, out := w.held(); in > 2<<20 || out > 0 {
		t.Errorf("a held client costs %d and %d bytes", in, out)
	}
	for _, c := range clients {
		c.reset() // an ordinary end would stand behind what is not read
	}
}

// TestSlowReaderIsCarried: that it does not read just now is no reason to cut a
// client when the master changes.
func TestSlowReaderIsCarried(t *testing.T) {
	const commands = 15000
	one, two := realRedis(t), realRedis(t)
	value := strings.Repeat("v", 1000)
	for _, n := range []*redistest.Node{one, two} {
		if _, err := n.Do(t.Context(), "SET", "k", value); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, one.Addr)
	c := w.dial()
	c.send(strings.Repeat(line("GET k"), commands))
	eventually(t, "the replies to stand", func() bool {
		_, out := w.held()
		return out > 1<<20
	})
	w.move(two.Addr)
	for i := range commands {
		if got, err := c.next(); got != bulk(value) {
			t.Fatalf("reply %d: %q, %v; closed: %v", i, cropped(got), err, w.counters().Closed)
		}
	}
	c.want(pong, "PING")
}

// TestNothingFollowsTheLastWord: after a protocol error, or QUIT, a client that
// has yet to read what it is owed gets no more messages.
func TestNothingFollowsTheLastWord(t *testing.T) {
	for last, said := range map[string]string{
		"-ERR Protocol error: invalid multibulk length\r\n": "*x\r\n",
		ok: line("QUIT"),
	} {
		node := realRedis(t)
		w := newWorld(t, node.Addr)
		c, d := w.dial(), w.dial()
		c.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
		message := strings.Repeat("m", 50<<10)
		owed := func() bool { _, out := w.held(); return out > smallBuffer }
		eventually(t, "messages to stand", func() bool { d.ask("PUBLISH", "ch", message); return owed() })
		c.send(said)
		eventually(t, "it to be read", func() bool {
			closing := false
			w.onLoop(w.p.loops[0], func(l *loop) {
				for _, slot := range l.slots {
					closing = closing || slot.s != nil && slot.s.closing
				}
			})
			return closing
		})
		for range 5 {
			d.ask("PUBLISH", "ch", message)
		}
		for {
			frame, err := c.next()
			if err != nil {
				t.Fatalf("%q never came: %v", last, err)
			}
			if frame == last {
				break
			}
			if frame != array(bulk("message"), bulk("ch"), bulk(message)) {
				t.Fatalf("received %q", cropped(frame))
			}
		}
		c.expectEnd()
	}
}
