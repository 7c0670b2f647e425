//go:build linux

package guide

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lan"
)

// address is what applications connect to.
var address = netip.MustParseAddr("10.78.0.100")

const (
	examples = "../../deploy"
	password = "change-me" // of the examples
	patience = 40 * time.Second
)

// program is holdfast, built for these tests.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "6") // most of the time they wait, but not at the beginning
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		return m.Run() // nobody will need it
	}
	dir, err := os.MkdirTemp("", "guide")
	if err == nil {
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "holdfast")
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		build := exec.Command("go", "build", "-o", program, "holdfast/cmd/holdfast")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "holdfast cannot be built:", err)
		return 1
	}
	return m.Run()
}

// site is some machines with one of the examples on them, and an application.
type site struct {
	*testing.T
	lan      *lan.LAN
	machines []*machine
	owners   *lan.Owners
	app      *application
}

// deploy sets three machines up as the example says. The first one is master and
// owner; withData have Redis and holdfast, and all have a Sentinel. More are lines
// that the example does not have.
func deploy(t *testing.T, example string, withData int, more ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts machines, and waits for failovers")
	}
	t.Parallel()
	s := &site{T: t, lan: lan.New(t, 3)}
	lan.Need(t, "redis-server")
	dir, err := os.MkdirTemp("", "guide")
	s.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.must(os.Chmod(dir, 0o755))
	for _, h := range s.lan.Nodes {
		s.machines = append(s.machines, newMachine(s, h, filepath.Join(dir, h.Name), example, more))
	}
	s.owners = s.lan.Watch(t, address)
	with := s.machines[:withData]
	for _, m := range with {
		m.startRedis()
	}
	s.until("the replicas are in sync", func() error { return with[0].hasReplicas(withData - 1) })
	for _, m := range s.machines {
		m.startSentinel()
	}
	for _, m := range s.machines {
		s.until("the Sentinels know each other", func() error { return m.knows(withData-1, len(s.machines)-1) })
	}
	for i, m := range with {
		m.startHoldfast()
		if i == 0 {
			s.owners.Await(t, m.Name)
		}
		s.until(m.Name+" is ready", m.ready)
	}
	return s
}

// install puts a file of the examples on a machine, with the replacements that it
// tells of.
func install(s *site, file, to string, replacements ...string) {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(examples, file))
	s.must(err)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(string(text), replacements[i]) {
			s.Fatalf("%s does not have %q", file, replacements[i])
		}
	}
	s.must(os.WriteFile(to, []byte(strings.NewReplacer(replacements...).Replace(string(text))), 0o644))
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// until waits until check finds nothing wrong.
func (s *site) until(what string, check func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}

// awaitMaster waits until all Sentinels that live and can be reached name one of
// these as the master, and it takes itself for it.
func (s *site) awaitMaster(of ...*machine) (now *machine) {
	s.Helper()
	s.until("there is a master", func() error {
		named := make(map[string]int)
		asked := 0
		for _, m := range s.machines {
			if m.sentinel == nil || m.cut {
				continue
			}
			ip, err := m.names()
			if err != nil {
				return err
			}
			asked++
			named[ip]++
		}
		for _, m := range of {
			if named[m.Addr.String()] == asked {
				now = m
				return m.isMaster()
			}
		}
		return fmt.Errorf("the Sentinels name %v", named)
	})
	return now
}

// moved checks that the address has moved so often since then, and was never on
// two machines for longer than a kernel's clock is coarse.
func (s *site) moved(since time.Time, times int) {
	s.Helper()
	if n := s.owners.Moves(since); n != times {
		s.Errorf("the address has moved %d times, want %d", n, times)
	}
	if two := s.owners.Two(since); two > time.Second {
		s.Errorf("two machines owned the address for %v", two)
	}
}
