package main

import (
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/redistest"
)

// TERM lets go who is at rest, and waits for who is not: a transaction that has
// begun is finished first.
func TestTermDrains(t *testing.T) {
	p := start(t, cluster(t, redistest.Options{}), "")
	p.awaitProbe(t, http.StatusOK, "ready")
	resting, busy := p.dial(t), p.dial(t)
	resting.do(t, "SET key value", "+OK")
	busy.do(t, "MULTI", "+OK")
	busy.do(t, "INCR counter", "+QUEUED")

	p.signal(t, syscall.SIGTERM)
	resting.ended(t)
	p.awaitProbe(t, http.StatusServiceUnavailable, "draining")
	if late, err := net.Dial("tcp", p.address); err == nil {
		late.Close()
		t.Error("a new client is let in during the drain")
	}
	busy.do(t, "EXEC", "*1")
	if line, err := busy.in.ReadString('\n'); line != ":1\r\n" {
		t.Errorf("the transaction answers %q, %v", line, err)
	}
	busy.ended(t)
	if code := p.exit(t); code != fine {
		t.Errorf("exit code %d", code)
	}
	p.log.await(t, "holdfast ends")
}

func TestSecondTermEndsAtOnce(t *testing.T) {
	p := start(t, cluster(t, redistest.Options{}), "drain: {timeout: 1h}\n")
	p.awaitProbe(t, http.StatusOK, "ready")
	busy := p.dial(t)
	busy.do(t, "MULTI", "+OK")
	p.signal(t, syscall.SIGTERM)
	p.awaitProbe(t, http.StatusServiceUnavailable, "draining")
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != failed {
		t.Errorf("exit code %d", code)
	}
	p.log.await(t, "at once, at the second signal")
}

func TestHangUpChangesNothing(t *testing.T) {
	p := start(t, cluster(t, redistest.Options{}), "")
	p.awaitProbe(t, http.StatusOK, "ready")
	c := p.dial(t)
	c.do(t, "SET key value", "+OK")
	p.signal(t, syscall.SIGHUP)
	p.log.await(t, "restart to apply a change")
	c.do(t, "GET key", "$5")
}

// A collector of logs that dies is no reason to die with it.
func TestLogReaderGone(t *testing.T) {
	c := cluster(t, redistest.Options{})
	p := &program{log: newLines(), address: address(t), health: address(t)}
	cmd := p.command(t, c, "")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = writer
	p.run(t, cmd)
	writer.Close()
	p.awaitProbe(t, http.StatusOK, "ready")
	reader.Close()
	p.signal(t, syscall.SIGHUP) // has a line written
	p.dial(t).do(t, "PING", "+PONG")
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != fine {
		t.Errorf("exit code %d", code)
	}
}

func TestPortInUse(t *testing.T) {
	c := cluster(t, redistest.Options{})
	p := &program{log: newLines(), address: address(t), health: address(t)}
	taken, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p.run(t, p.command(t, c, ""))
	p.awaitProbe(t, http.StatusServiceUnavailable, "listener "+p.address+" is not bound: ")
	p.log.await(t, "cannot listen", p.address, "in use")
	taken.Close()
	p.awaitProbe(t, http.StatusOK, "ready")
	if said := p.log.with("cannot listen"); len(said) != 1 {
		t.Errorf("said %d times: %q", len(said), said)
	}
}

// A wrong password is an operator's mistake that the process outlives and names,
// without repeating the password.
func TestWrongRedisPassword(t *testing.T) {
	p := start(t, cluster(t, redistest.Options{Password: "right"}), "redis: {password: not-this}\n")
	p.awaitProbe(t, http.StatusServiceUnavailable, "WRONGPASS")
	if strings.Contains(p.log.String(), "not-this") {
		t.Error("the password is in the log")
	}
}

func TestWrongSentinelPassword(t *testing.T) {
	t.Setenv("HOLDFAST_SENTINEL_PASSWORD", "not-this")
	p := start(t, cluster(t, redistest.Options{SentinelPassword: "right"}), "")
	p.log.await(t, "WRONGPASS", "sentinel.password")
	p.awaitProbe(t, http.StatusServiceUnavailable, "no Sentinel")
	if said := p.log.with("WRONGPASS"); len(said) != 1 {
		t.Errorf("said %d times:\n%s", len(said), strings.Join(said, ""))
	}
	if strings.Contains(p.log.String(), "not-this") {
		t.Error("the password is in the log")
	}
}
