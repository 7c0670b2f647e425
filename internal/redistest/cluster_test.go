package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// failing is how long anything with a failover may take. A machine that stalls
// for 2 s sends the Sentinels into TILT, and then they do nothing for 30 s.
const failing = 2 * time.Minute

// within bounds a test's waiting.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// gone says whether a process does not exist, or is a zombie that its parent has
// not reaped yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestClusterStartsAndLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx := within(t, 30*time.Second)
	before := time.Now()
	c, err := Start(ctx, Options{Replicas: 2, Sentinels: 3})
	if errors.Is(err, errNoServer) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	t.Logf("started in %v", time.Since(before).Round(time.Millisecond))
	if master, err := c.Master(ctx); err != nil || master != c.Nodes[0] {
		t.Errorf("master %v, %v, instead of %v", master, err, c.Nodes[0])
	}
	if got := c.SentinelAddrs(); len(got) != 3 || c.NodeAt(got[1]) != c.Sentinels[1] {
		t.Errorf("Sentinel addresses %v", got)
	}
	for _, s := range c.Sentinels {
		if reply, err := s.Do(ctx, "SENTINEL", "CKQUORUM", c.Name()); err != nil || !strings.HasPrefix(fmt.Sprint(reply), "OK 3 ") {
			t.Errorf("CKQUORUM at %s: %v, %v", s, reply, err)
		}
		if strings.Contains(s.Log(), "+sdown") {
			t.Errorf("%s saw somebody down:\n%s", s, s.Log())
		}
	}
	if err := c.Partition(nil, nil); err == nil {
		t.Error("a cluster without namespaces can be partitioned")
	}

	c.Stop()
	c.Stop()
	for _, n := range c.all() {
		if err := syscall.Kill(n.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s still exists: %v", n, err)
		}
	}
	if _, err := os.Stat(c.dir.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", c.dir.path, err)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	ctx := within(t, failing)
	c := New(t, Options{Replicas: 1, Sentinels: 3, Password: `dat"a pass`, SentinelPassword: "sentinel pass", MasterName: "other"})
	if _, err := c.Nodes[0].Do(ctx, "SET", "k", "v"); err != nil {
		t.Error(err)
	}
	for _, n := range []*Node{c.Nodes[0], c.Nodes[1], c.Sentinels[0]} {
		anonymous := &Node{Name: n.Name, Addr: n.Addr}
		if _, err := anonymous.Do(ctx, "PING"); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
			t.Errorf("%s lets anybody in: %v", n, err)
		}
	}
	if err := c.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AwaitMaster(ctx, func(n *Node) bool { return n == c.Nodes[1] }); err != nil {
		t.Error(err)
	}
}

func TestFailoverChangesMaster(t *testing.T) {
	t.Parallel()
	ctx := within(t, failing)
	c := New(t, Options{Replicas: 2, Sentinels: 3})
	old := c.Nodes[0]
	if err := c.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	master, err := c.AwaitMaster(ctx, func(n *Node) bool { return n != old })
	if err != nil {
		t.Fatal(err)
	}
	if role, err := master.Role(ctx); err != nil || role != "master" {
		t.Errorf("%s says role:%s, %v", master, role, err)
	}
	if testing.Short() {
		return
	}
	if err := c.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if role, err := old.Role(ctx); err != nil || role != "slave" {
		t.Errorf("the old master says role:%s, %v", role, err)
	}
}

func TestKilledMasterIsReplaced(t *testing.T) {
	t.Parallel()
	ctx := within(t, failing)
	c := New(t, Options{Replicas: 2, Sentinels: 3, DownAfter: 500 * time.Millisecond})
	c.Nodes[0].Kill()
	if _, err := c.AwaitMaster(ctx, func(n *Node) bool { return n != c.Nodes[0] }); err != nil {
		t.Error(err)
	}
}

func TestWithoutSentinels(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{Replicas: 1})
	if master, err := c.Master(ctx); err != nil || master != c.Nodes[0] {
		t.Errorf("master %v, %v", master, err)
	}
	if _, err := c.Nodes[1].Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		t.Fatal(err)
	}
	if master, err := c.Master(ctx); err == nil {
		t.Errorf("of two masters %v is the master", master)
	}
}

// A server binary that claims, the first time, that its port is taken.
func TestPortCollisionIsRetried(t *testing.T) {
	real, err := server("")
	if err != nil {
		missing(t, err.Error())
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n[ -e %[1]s/once ] && exec %[2]s \"$@\"\ntouch %[1]s/once\n"+
		"echo 'bind: Address already in use'\nexit 1\n", dir, real)
	binary := filepath.Join(dir, "server")
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Start(within(t, 30*time.Second), Options{Server: binary})
	if err != nil {
		t.Fatal(err)
	}
	c.Stop()
	if _, err := os.Stat(filepath.Join(dir, "once")); err != nil {
		t.Error("the first attempt did not fail: ", err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	ctx := within(t, 30*time.Second)
	if _, err := Start(ctx, Options{Server: "no-such-server"}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing binary is reported as %v", err)
	}
	if _, err := server(""); err != nil {
		missing(t, err.Error())
	}
	_, err := Start(ctx, Options{Args: []string{"--no-such-option", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("a bad argument is reported as %v", err)
	}
	t.Setenv("HOLDFAST_REDIS_SERVER", "/no-such-server")
	if _, err := Start(ctx, Options{}); err == nil || errors.Is(err, errNoServer) {
		t.Errorf("a missing binary that the environment names is reported as %v", err)
	}
}

// TestMain also is the program that TestNobodySurvivesUs kills.
func TestMain(m *testing.M) {
	if os.Getenv("REDISTEST_VICTIM") == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Options{Replicas: 1, Sentinels: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, n := range c.all() {
		fmt.Println(n.Pid())
	}
	fmt.Println(c.dir.path)
	select {}
}

func TestNobodySurvivesUs(t *testing.T) {
	if _, err := server(""); err != nil {
		missing(t, err.Error())
	}
	ctx := within(t, 30*time.Second)
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "REDISTEST_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := (*Host)(nil).Start(victim)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var pids []int
	lines := bufio.NewScanner(out)
	for range 3 {
		lines.Scan()
		pid, err := strconv.Atoi(lines.Text())
		if err != nil || gone(pid) {
			t.Fatalf("the victim's cluster: %q, %v", lines.Text(), err)
		}
		pids = append(pids, pid)
	}
	lines.Scan()
	left := lines.Text()
	p.Kill()
	err = poll(ctx, func() error {
		for _, pid := range pids {
			if !gone(pid) {
				return fmt.Errorf("process %d is still there", pid)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Fatalf("the victim's directory: %v", err)
	}
	sweep()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s has not been swept: %v", left, err)
	}
}
