package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/redistest"
)

// ward is a cluster, a holdfast in front of it, and the node that is master.
type ward struct {
	*redistest.Cluster
	*program
	t   *testing.T
	old *redistest.Node
}

// started has the master fed by two replicas and three Sentinels, that take nobody
// for dead while the test lasts.
func started(t *testing.T, more string) *ward {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := redistest.New(t, redistest.Options{Replicas: 2, Sentinels: 3, DownAfter: time.Minute})
	p := start(t, c, "failover: {release: promoted}\n"+more)
	p.awaitProbe(t, 200, "ready")
	for range 3 {
		p.log.await(t, "Sentinel connected")
	}
	old, err := c.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &ward{c, p, t, old}
}

// switchover runs the command until it ends, and returns all that it said.
func (w *ward) switchover(args ...string) (code int, said string) {
	w.t.Helper()
	code, out, err := call(w.t, append([]string{"switchover", "mymaster", "-a", w.health}, args...)...)
	w.t.Log("\n" + out + err)
	return code, out + err
}

// unchanged checks that the old master is as it was, and serves.
func (w *ward) unchanged() {
	w.t.Helper()
	if now, err := w.Master(w.t.Context()); err != nil || now != w.old {
		w.t.Errorf("the master is %v, %v", now, err)
	}
	w.putBack()
	w.dial(w.t).do(w.t, "SET after x", "+OK")
}

// putBack checks that the old master takes writes, as far as we are concerned.
func (w *ward) putBack() {
	w.t.Helper()
	if got, err := w.old.Do(w.t.Context(), "CONFIG", "GET", "min-replicas-to-write"); err != nil || fmt.Sprint(got) != "[min-replicas-to-write 0]" {
		w.t.Errorf("left behind: %v, %v", got, err)
	}
}

// writer appends numbers to a list of its own, one after the other, and keeps
// those that were acknowledged.
type writer struct {
	key   string
	acked []string
	err   error // a refusal of another kind than it may be
}

// write writes to addr until stop.
func (w *writer) write(addr string, stop <-chan struct{}, may string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		w.err = err
		return
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		fmt.Fprintf(c, "RPUSH %s %d\r\n", w.key, n)
		switch line, err := in.ReadString('\n'); {
		case err == nil && line[0] == ':':
			w.acked = append(w.acked, fmt.Sprint(n))
		case may != "" && (err != nil || strings.HasPrefix(line, may)):
			if err != nil {
				return // thrown out: the old master is no master any more
			}
		default:
			w.err = fmt.Errorf("%q, %w", line, err)
			return
		}
	}
}

// kept checks that the node has all that was acknowledged, in order.
func (w *writer) kept(t *testing.T, n *redistest.Node, exactly bool) {
	t.Helper()
	got, err := n.Do(t.Context(), "LRANGE", w.key, "0", "-1")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, id := range got.([]any) {
		left = append(left, id.(string))
	}
	if w.err != nil || len(w.acked) == 0 || exactly && !slices.Equal(left, w.acked) {
		t.Errorf("%s: %d acknowledged, %d there, %v", w.key, len(w.acked), len(left), w.err)
	}
	for _, id := range w.acked {
		if !slices.Contains(left, id) {
			t.Errorf("%s: %s is lost", w.key, id)
		}
	}
}

// TestSwitchover: writers through holdfast, and past it, lose nothing, and those
// through it see nothing.
func TestSwitchover(t *testing.T) {
	for _, fence := range []bool{false, true} {
		t.Run(fmt.Sprintf("fence-writers=%v", fence), func(t *testing.T) {
			w := started(t, "")
			var writing sync.WaitGroup
			stop := make(chan struct{})
			var through []*writer
			for i := range 4 {
				writer := &writer{key: fmt.Sprintf("through:%d", i)}
				through = append(through, writer)
				writing.Go(func() { writer.write(w.address, stop, "") })
			}
			past := &writer{key: "past"}
			var args []string
			if fence {
				args = append(args, "--fence-writers")
				writing.Go(func() { past.write(w.old.Addr, stop, "-NOREPLICAS") })
			}
			code, said := w.switchover(args...)
			close(stop)
			writing.Wait()
			if code != fine || !strings.Contains(said, "commands waited for") || !strings.Contains(said, "0 uncertain") {
				t.Fatalf("%d %s", code, said)
			}
			now, err := w.AwaitMaster(t.Context(), func(n *redistest.Node) bool { return n != w.old })
			if err != nil {
				t.Fatal(err)
			}
			for _, writer := range through {
				writer.kept(t, now, true)
			}
			if fence {
				past.kept(t, now, false)
			}
			w.putBack()
		})
	}
}

// TestSwitchoverChecks: what cannot work is not begun, and a dry run changes
// nothing.
func TestSwitchoverChecks(t *testing.T) {
	w := started(t, "")
	if code, said := w.switchover("--dry-run", "--fence-writers"); code != fine || !strings.Contains(said, "dry run") {
		t.Errorf("%d %s", code, said)
	}
	w.unchanged()
	for _, n := range w.Nodes {
		if n != w.old {
			if err := n.Freeze(); err != nil {
				t.Fatal(err)
			}
			code, said := w.switchover()
			if code != failed || !strings.Contains(said, "the replica "+n.Addr+" may be chosen, but") {
				t.Errorf("an unreachable replica: %d %s", code, said)
			}
			if err := n.Thaw(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if code, _, said := call(t, "switchover", "other", "-a", w.health); code != failed {
		t.Errorf("an unknown master: %d %s", code, said)
	}
	w.unchanged()
	if len(w.log.with("master fenced")) != 0 {
		t.Errorf("somebody had to wait:\n%s", w.log)
	}
}

// busy has something under way that does not end: a command behind one that waits.
func (w *ward) busy() {
	w.t.Helper()
	c := w.dial(w.t)
	c.do(w.t, "PING", "+PONG")
	fmt.Fprint(c, "BLPOP queue 0\r\nPING\r\n")
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if info, err := w.old.Info(ctx, "clients"); err == nil && info["blocked_clients"] == "1" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatal("nobody is blocked")
		}
	}
}

// TestSwitchoverGivesUp: what cannot be drained is not switched, and all goes on.
func TestSwitchoverGivesUp(t *testing.T) {
	w := started(t, "")
	w.busy()
	if code, said := w.switchover("--fence-writers"); code != failed || !strings.Contains(said, "1 clients still have an answer to come") {
		t.Errorf("%d %s", code, said)
	}
	w.unchanged()
}

// TestSwitchoverInterrupted: whoever asked goes away in the middle, or holdfast has
// to end.
func TestSwitchoverInterrupted(t *testing.T) {
	for _, term := range []bool{false, true} {
		t.Run(fmt.Sprintf("term=%v", term), func(t *testing.T) {
			w := started(t, "drain: {timeout: 100ms}\n")
			w.busy()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, code := newLines(), make(chan int)
			go func() {
				code <- run(ctx, []string{"switchover", "mymaster", "-a", w.health, "--fence-writers"}, out, out)
			}()
			out.await(t, "covered are all writers")
			if term {
				w.signal(t, syscall.SIGTERM)
				if got := w.exit(t); got != fine {
					t.Errorf("holdfast ends with %d", got)
				}
				w.putBack()
			} else {
				cancel()
			}
			if got := <-code; got != failed {
				t.Errorf("the command ends with %d", got)
			}
			if !term {
				w.log.await(t, "switchover: ", "put back: ")
				w.log.await(t, `"to":"serving"`, "role:master")
				w.unchanged()
			}
		})
	}
}
