//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// answers serves the test's connections: it reads a class' requests, which are all
// of one length, and lets a function write what comes back.
func answers(t *testing.T, c class, reply func(w io.Writer, request []byte) error) door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := door{port: l.Addr().(*net.TCPAddr).Port}
	if c.tls {
		l, at.tls = secretly(t, l, tls.VersionTLS13)
	}
	request, _ := c.step(0)
	go accept(l, len(request), reply)
	return at
}

// accept ends with the listener.
func accept(l net.Listener, requestLen int, reply func(w io.Writer, request []byte) error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn, requestLen, reply)
	}
}

// serve ends when the client closes or reply fails.
func serve(conn net.Conn, requestLen int, reply func(w io.Writer, request []byte) error) {
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	defer out.Flush()
	request := make([]byte, requestLen)
	for {
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		if reply(out, request) != nil {
			return
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

// right answers every GET as Redis would.
func right(c class) func(io.Writer, []byte) error {
	known := map[string][]byte{}
	for key := range keysFor(c.size) {
		request, reply := c.step(key)
		known[string(request)] = reply
	}
	return func(w io.Writer, request []byte) error {
		_, err := w.Write(known[string(request)])
		return err
	}
}

func measured(t *testing.T, c class, reply func(io.Writer, []byte) error) outcome {
	t.Helper()
	g, err := newGenerator(answers(t, c, reply), c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if err := g.warm(t.Context(), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	o, err := g.measure(t.Context(), &meter{redis: os.Getpid()}, 10*time.Millisecond, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestGeneratorCountsRightAnswers(t *testing.T) {
	for _, c := range []class{
		get("", "", 64, 1, 1), get("", "", 64, 20, 16), get("", "", 64<<10, 5, 1), get("", "", 1<<20, 2, 3),
		{command: "SET", size: 64, conns: 3, pipeline: 1},
		{command: "SET", size: 1 << 20, conns: 2, pipeline: 4}, // more than a socket takes at once
		{command: "GET", size: 64, conns: 7, pipeline: 1, rate: 2000},
		{command: "GET", size: 64, conns: 20, pipeline: 16, tls: true}, {command: "GET", size: 1 << 20, conns: 2, pipeline: 3, tls: true},
		{command: "SET", size: 1 << 20, conns: 2, pipeline: 4, tls: true}, {command: "GET", size: 64, conns: 7, pipeline: 1, rate: 2000, tls: true},
	} {
		o := measured(t, c, right(c))
		if o.errors != 0 || o.commands == 0 || o.served < o.commands {
			t.Errorf("%+v: %d commands of %d served, %d errors: %s", c, o.commands, o.served, o.errors, o.fault)
		}
		if o.p50 <= 0 || o.p99 < o.p50 || o.max < o.p99 || o.usage.wall < 50*time.Millisecond {
			t.Errorf("%+v: p50 %v, p99 %v, max %v in %v", c, o.p50, o.p99, o.max, o.usage.wall)
		}
	}
}

func TestGeneratorNamesFaults(t *testing.T) {
	for _, c := range []struct {
		name, want string
		reply      func(io.Writer, []byte) error
	}{
		{"error reply", "-ERR down", func(w io.Writer, _ []byte) error {
			_, err := io.WriteString(w, "-ERR down\r\n")
			return err
		}},
		{"closed", "closed by the endpoint", func(io.Writer, []byte) error { return io.EOF }},
		{"half a reply", "closed by the endpoint", func(w io.Writer, _ []byte) error {
			io.WriteString(w, "$64\r\n")
			return io.EOF
		}},
	} {
		for _, load := range []class{get("", "", 64, 4, 2), overTLS(get("", "", 64, 4, 2))} {
			t.Run(fmt.Sprintf("%s, TLS %v", c.name, load.tls), func(t *testing.T) {
				o := measured(t, load, c.reply)
				if o.commands != 0 || o.errors < 4 || !strings.Contains(o.fault, c.want) {
					t.Errorf("%d commands, %d errors, fault %q", o.commands, o.errors, o.fault)
				}
			})
		}
	}
}

func TestGeneratorCountsWhatIsNeverAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the answers' time limit")
	}
	o := measured(t, get("", "", 64, 3, 2), func(io.Writer, []byte) error { return nil })
	if o.commands != 0 || o.errors != 6 || !strings.Contains(o.fault, "no answer within") {
		t.Errorf("%d commands, %d errors, fault %q", o.commands, o.errors, o.fault)
	}
}

func TestGeneratorEndsWithItsContext(t *testing.T) {
	c := get("", "", 64, 2, 1)
	g, err := newGenerator(answers(t, c, right(c)), c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.warm(ctx, time.Hour); err != context.Canceled {
		t.Errorf("warm: %v", err)
	}
	if _, err := g.measure(ctx, &meter{redis: os.Getpid()}, time.Hour, time.Hour); err != context.Canceled {
		t.Errorf("measure: %v", err)
	}
}

func TestIdleConnectionsThatAreRefused(t *testing.T) {
	const taken = 150
	served := make(chan struct{}, taken)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go accept(l, len(encode("PING")), func(w io.Writer, _ []byte) error {
		select {
		case served <- struct{}{}:
			_, err := io.WriteString(w, "+PONG\r\n")
			return err
		default:
			return io.EOF
		}
	})
	fds, err := openIdle(t.Context(), l.Addr().(*net.TCPAddr).Port, 300)
	closeAll(fds)
	if len(fds) < 100 || len(fds) > taken || err == nil || !strings.Contains(err.Error(), "closed after 0 of 7 bytes") {
		t.Errorf("%d connections, %v", len(fds), err)
	}
}

// TestRig starts the real things, as far as they are installed.
func TestRig(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err) // what CI skips nobody tests
		}
		t.Skip(err)
	}
	chosen := []class{
		get("small", "", 64, 5, 1), get("big", "", 64<<10, 2, 1),
		{command: "SET", size: 64, conns: 2, pipeline: 1}, {command: mixed, size: 64, conns: 4, pipeline: 1},
		overTLS(get("small", "", 64, 5, 1)), overTLS(get("big", "", 64<<10, 2, 1)),
	}
	r, err := newRig(t.Context(), "redis-server", chosen)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ends, missing, err := chooseEndpoints(endpointTable("/nonexistent/holdfast", self), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(missing)
	for _, e := range ends {
		testEndpoint(t, r, e, chosen)
	}
	if i := len(r.running); i != 2 {
		t.Errorf("%d processes run, want Redis and Sentinel", i)
	}
}

func testEndpoint(t *testing.T, r *rig, e endpoint, chosen []class) {
	i, err := r.start(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop(i)
	if err := i.verify(chosen); err != nil {
		t.Error(err)
	}
	for _, c := range chosen {
		if !e.takes(c) {
			continue
		}
		o, err := r.measureBusy(t.Context(), i, c, 20*time.Millisecond)
		if err != nil || o.errors > 0 || o.commands == 0 || i.proc != nil && o.usage.proxy <= 0 {
			t.Errorf("%s, %+v: %+v, %v", e.name, c, o, err)
		}
		if throughRedis := !e.constant; throughRedis && o.usage.redis <= 0 {
			t.Errorf("%s: Redis did nothing", e.name)
		}
	}
	cost, err := r.measureIdle(t.Context(), e, idleClass("", 200), 20*time.Millisecond)
	if err != nil || cost.opened != 200 || cost.busy.errors > 0 || cost.still.wall < time.Second {
		t.Errorf("%s: %+v, %v", e.name, cost, err)
	}
}

func TestStartNamesAProcessThatEndsAtOnce(t *testing.T) {
	p, err := startProcess(t.TempDir(), "broken", []string{"sh", "-c", "echo no such option >&2; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), time.Minute, func() error { return io.EOF })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("await: %v", err)
	}
	p.stop()
}
