//go:build linux

package guide

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/vip"
)

// twoNodes are n1, which is master and owner, and n2. n3 is the witness.
func twoNodes(t *testing.T) (s *site, n1, n2 *machine) {
	t.Helper()
	s = deploy(t, "two-nodes.yaml", 2)
	s.work(0)
	return s, s.machines[0], s.machines[1]
}

// Case 1: proxy and Redis of the first node die. The second node has the address
// and the master; the first one comes back as a replica, and takes nothing away.
func TestProxyDiesWithRedis(t *testing.T) {
	s, n1, n2 := twoNodes(t)
	begun := time.Now()
	kill(&n1.redis)
	kill(&n1.holdfast)

	s.owners.Await(t, "n2")
	s.awaitMaster(n2)
	s.app.goesOn()
	t.Logf("the application waited for %v", s.app.outage(begun))

	n1.startRedis()
	n1.startHoldfast()
	s.until("n1 is a replica", func() error { return n1.follows(n2) })
	s.until("n1 is ready", n1.ready)
	s.app.goesOn()
	s.moved(begun, 1)
	s.nothingLost(n2)
}

// Case 2: the proxy of the first node dies, its Redis lives. The address goes to
// the second node, which serves the master on the first.
func TestProxyDiesRedisLives(t *testing.T) {
	s, n1, _ := twoNodes(t)
	begun := time.Now()
	kill(&n1.holdfast)

	s.owners.Await(t, "n2")
	s.app.goesOn()
	t.Logf("the application waited for %v", s.app.outage(begun))
	s.awaitMaster(n1)

	n1.startHoldfast()
	s.until("n1 is ready", n1.ready)
	s.app.goesOn()
	s.moved(begun, 1)
	s.nothingLost(n1)
}

// Case 3: Redis of the first node dies, its proxy lives. The address stays, the
// master moves, and the application keeps its connection.
func TestRedisDiesProxyLives(t *testing.T) {
	s, n1, n2 := twoNodes(t)
	begun, connections := time.Now(), s.app.connections()
	kill(&n1.redis)

	s.awaitMaster(n2)
	s.app.goesOn()
	t.Logf("the application waited for %v", s.app.outage(begun))
	n1.startRedis()
	s.until("n1 is a replica", func() error { return n1.follows(n2) })
	s.app.goesOn()

	s.moved(begun, 0)
	s.owners.Await(t, "n1")
	if n := s.app.connections(); n != connections {
		t.Errorf("the application had to connect %d times", n-connections)
	}
	s.nothingLost(n2)
}

// Case 4: nothing dies. The operator moves the master, which no application
// notices, and then takes the first node out of service, which costs each one new
// connection.
func TestNothingDies(t *testing.T) {
	s, n1, n2 := twoNodes(t)
	begun, connections := time.Now(), s.app.connections()
	n1.Start(t, exec.Command(program, "switchover", "mymaster")).Await(t, "clients: ")
	s.awaitMaster(n2)
	s.app.goesOn()
	t.Logf("the application waited for %v while the master moved", s.app.outage(begun))
	s.moved(begun, 0)
	if n := s.app.connections(); n != connections {
		t.Errorf("the application had to connect %d times", n-connections)
	}

	stopped := time.Now()
	n1.holdfast.Stop(t)
	s.owners.Await(t, "n2")
	s.app.goesOn()
	outage := s.app.outage(stopped)
	t.Logf("the application waited for %v while the address moved", outage)
	if outage > 3*time.Second {
		t.Error("that is as long as for a node that died")
	}
	if n := s.app.connections(); n != connections+1 {
		t.Errorf("the application had to connect %d times", n-connections)
	}
	s.moved(stopped, 1)
	s.nothingLost(n2)
}

// All of Redis dies, and clients are not to wait for it for long. Then no node can
// serve, no node owns the address, and each says why; until Redis is back.
func TestNobodyOwnsWhatNobodyServes(t *testing.T) {
	s := deploy(t, "two-nodes.yaml", 2, "hold: {max_wait: 2s}", "failover: {fence_timeout: 1s}")
	n1, n2 := s.machines[0], s.machines[1]
	s.work(0)
	begun := time.Now()
	kill(&n2.redis)
	kill(&n1.redis)

	s.owners.Await(t)
	if bore := time.Since(begun); bore < 2*time.Second {
		t.Errorf("the address went after %v, while clients waited", bore)
	}
	for _, m := range []*machine{n1, n2} {
		s.until(m.Name+" says why", func() error {
			st, err := m.status()
			if r := st.Routers; err == nil && (r[0].State != vip.Fault || !strings.Contains(r[0].Why, "master mymaster is not served")) {
				err = fmt.Errorf("it is %s: %s", r[0].State, r[0].Why)
			}
			return err
		})
	}

	n1.startRedis()
	s.app.goesOn()
	if two := s.owners.Two(begun); two > 200*time.Millisecond {
		t.Errorf("two nodes owned the address for %v", two)
	}
	s.nothingLost(n1)
}
