package redistest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func do(t *testing.T, n *Node, args ...any) any {
	t.Helper()
	reply, err := n.Do(within(t, 20*time.Second), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

func TestRestartKeepsOrEmpties(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	n := c.Nodes[0]
	for _, end := range []func(){n.Kill, n.Stop, func() {}} {
		do(t, n, "SET", "k", "v")
		pid := n.Pid()
		end()
		if err := n.Restart(ctx, Keep); err != nil {
			t.Fatal(err)
		}
		if got := do(t, n, "GET", "k"); got != "v" {
			t.Errorf("after Restart with Keep: %v", got)
		}
		if n.Pid() == pid || !gone(pid) {
			t.Errorf("the old process %d is there", pid)
		}
	}
	if err := n.Restart(ctx, Empty); err != nil {
		t.Fatal(err)
	}
	if got := do(t, n, "DBSIZE"); got != int64(0) {
		t.Errorf("after Restart with Empty: %v keys", got)
	}
}

func TestKilledNodeRefuses(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{})
	n := c.Nodes[0]
	n.Kill()
	if n.Alive() {
		t.Error("it is alive")
	}
	if _, err := n.Do(ctx, "PING"); err == nil {
		t.Error("it answers")
	}
	if err := n.Freeze(); err == nil {
		t.Error("it can be frozen")
	}
	n.Kill()
	n.Stop()
	if err := n.Restart(ctx, Keep); err != nil || !n.Alive() {
		t.Errorf("restart: %v", err)
	}
}

// A port that was taken meanwhile is named, whether or not a server answers there.
func TestRestartOnTakenPort(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{})
	n := c.Nodes[0]
	n.Kill()
	squatter, err := Listen(n.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	squatter.Handle("PING", OK)
	squatter.Handle("INFO", Raw("$14\r\nprocess_id:1\r\n\r\n"))
	if err := n.Restart(ctx, Keep); !errors.Is(err, errPortTaken) {
		t.Errorf("restart on a taken port: %v", err)
	}
	if n.Alive() {
		t.Error("it is alive")
	}
	squatter.Close()
	if err := n.Restart(ctx, Keep); err != nil {
		t.Error(err)
	}
}

func TestFrozenNodeHangsAndGoesOn(t *testing.T) {
	c := New(t, Options{})
	n := c.Nodes[0]
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := n.Do(ctx, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen node: %v", err)
	}
	if err := n.Thaw(); err != nil {
		t.Fatal(err)
	}
	if got := do(t, n, "PING"); got != "PONG" {
		t.Errorf("a thawed node: %v", got)
	}
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	if n.Alive() {
		t.Error("a frozen node does not stop")
	}
}

func TestRebuiltSentinelKnowsOnlyTheMaster(t *testing.T) {
	t.Parallel()
	ctx := within(t, failing)
	c := New(t, Options{Replicas: 1, Sentinels: 1})
	if err := c.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	master, err := c.AwaitMaster(ctx, func(n *Node) bool { return n != c.Nodes[0] })
	if err != nil {
		t.Fatal(err)
	}
	s := c.Sentinels[0]
	epoch := func() string { return fields(do(t, s, "SENTINEL", "MASTER", c.Name()))["config-epoch"] }
	id := do(t, s, "SENTINEL", "MYID")
	// GET-MASTER-ADDR is ahead of the file, which names the new master only when
	// the failover has ended.
	err = poll(ctx, func() error {
		if addr, err := monitored(s.conf()); err != nil || addr != master.Addr {
			return fmt.Errorf("the file names %s, %v", addr, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(ctx, Keep); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "SENTINEL", "MYID"); got != id || epoch() == "0" {
		t.Errorf("a restarted Sentinel has id %v instead of %v, epoch %s", got, id, epoch())
	}
	if err := s.Restart(ctx, Empty); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "SENTINEL", "MYID"); got == id || epoch() != "0" {
		t.Errorf("a rebuilt Sentinel has id %v, which was %v, epoch %s", got, id, epoch())
	}
	if addr, err := s.masterAddr(ctx, c.Name()); err != nil || addr != master.Addr {
		t.Errorf("a rebuilt Sentinel names %s, %v, instead of %s", addr, err, master)
	}
}

func TestRepliesAsValues(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{})
	n := c.Nodes[0]
	if got := do(t, n, "EVAL", "return {1, 'two', {false, {ok='three'}}, redis.error_reply('OH no')}", 0); fmt.Sprint(got) != "[1 two [<nil> three] OH no]" {
		t.Errorf("a nested reply is %v", got)
	}
	if got := do(t, n, "GET", []byte("nothing")); got != nil {
		t.Errorf("a null is %v", got)
	}
	if _, err := n.Do(ctx, "INCR"); !errors.As(err, new(ReplyError)) {
		t.Errorf("an error reply is %v", err)
	}
	big := make([]byte, 1<<20)
	do(t, n, "SET", "big", big)
	if got, _ := do(t, n, "GET", "big").(string); len(got) != len(big) {
		t.Errorf("a large value comes back as %d bytes", len(got))
	}
	if info, err := n.Info(ctx, "server"); err != nil || info["process_id"] != fmt.Sprint(n.Pid()) {
		t.Errorf("process id %s, %v, instead of %d", info["process_id"], err, n.Pid())
	}
}
