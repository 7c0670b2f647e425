//go:build linux

package guide

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/vip"
)

// threeNodes are equal; the first is master and owner. The application takes a
// write for done when a replica has it, too: Redis itself does not wait for that.
func threeNodes(t *testing.T) (s *site, n1, n2, n3 *machine) {
	t.Helper()
	s = deploy(t, "three-nodes.yaml", 3)
	s.work(1)
	return s, s.machines[0], s.machines[1], s.machines[2]
}

// The master's node dies. Address and master are both up again elsewhere, and in
// the end at the same place; the node comes back as a replica; nothing that was
// acknowledged is lost.
func TestMastersNodeDies(t *testing.T) {
	s, n1, n2, n3 := threeNodes(t)
	begun := time.Now()
	n1.die()

	master := s.awaitMaster(n2, n3)
	s.app.goesOn()
	t.Logf("the application waited for %v", s.app.outage(begun))
	s.owners.Await(t, master.Name)

	back := time.Now()
	n1.boot()
	s.until("n1 is a replica", func() error { return n1.follows(master) })
	s.until("n1 is ready", n1.ready)
	s.awaitMaster(master)
	s.app.goesOn()
	s.moved(back, 0)
	if two := s.owners.Two(begun); two > time.Second {
		t.Errorf("two nodes owned the address for %v", two)
	}
	s.nothingLost(master)
}

// The network cuts the owner, which is the master, off from the others. It hears
// nobody who could take the address from it, and leaves it all the same, with the
// majority of the Sentinels. When it is back, one node owns.
func TestMinorityReleases(t *testing.T) {
	s, n1, n2, n3 := threeNodes(t)
	begun := time.Now()
	n1.isolate()

	var st vip.Stats
	s.until("n1 leaves the address", func() error {
		all, err := n1.status()
		if err == nil {
			st = all.Routers[0]
			if st.State != vip.Fault || st.Lease.Held {
				err = fmt.Errorf("it is %s: %s", st.State, st.Why)
			}
		}
		return err
	})
	t.Logf("n1 left it after %v: %s", st.Since.Sub(begun).Round(time.Millisecond), st.Why)
	if !strings.Contains(st.Why, "Sentinels answer") {
		t.Errorf("it left it because %s", st.Why)
	}
	if limit := 5 * time.Second; st.Since.Sub(begun) > limit {
		t.Errorf("it takes %v for the Sentinels to be out of sight", limit)
	}
	master := s.awaitMaster(n2, n3)
	s.app.goesOn()
	t.Logf("the application waited for %v", s.app.outage(begun))

	healed := time.Now()
	n1.rejoin()
	s.until("n1 is a replica", func() error { return n1.follows(master) })
	s.until("n1 is ready", n1.ready)
	s.app.goesOn()
	s.owners.Await(t, master.Name)
	if two := s.owners.Two(healed); two > 200*time.Millisecond {
		t.Errorf("two nodes owned the address for %v after the heal", two)
	}
	s.nothingLost(master)
}
