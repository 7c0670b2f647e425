//go:build linux

package vip

import (
	"fmt"
	"testing"
	"time"

	"holdfast/internal/lan"
)

// Every way to speak, with keepalived on either side and among ourselves: the
// higher priority owns, hands over when it stops, and comes back.
func TestPairs(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{fastMulticast, fastUnicast, fastSix, fastSixUni, slowMulticast, slowUnicast} {
		for _, pair := range [][2]maker{{ours, ours}, {ours, guest}, {guest, ours}} {
			t.Run(fmt.Sprintf("%v/%s-over-%s", w, pair[0], pair[1]), func(t *testing.T) {
				t.Parallel()
				if w.advert >= time.Second && testing.Short() {
					t.Skip("takes 10 s")
				}
				testPair(t, w, pair[0], pair[1])
			})
		}
	}
}

func testPair(t *testing.T, w wire, high, low maker) {
	l := lan.New(t, 2)
	lan.Need(t, "keepalived", "tcpdump")
	owners, probe := l.Watch(t, w.address()), l.Probe(t, w.address())
	dump := l.Nodes[1].Capture(t, "ip proto 112 or ip6 proto 112")
	serve := func(h *lan.Host, m maker) {
		if m == guest {
			h.Serve(t)
		}
	}
	serve(l.Nodes[0], high)
	serve(l.Nodes[1], low)
	_, under := low.start(t, l, l.Nodes[1], w, 100)
	owners.Await(t, "n2")
	begun := time.Now()
	first, _ := high.start(t, l, l.Nodes[0], w, 150)
	owners.Await(t, "n1")
	probe.Await(t, "n1")
	preempted := probe.Outage(begun)

	var held *lan.Held
	if high == ours {
		held = l.Hold(t, w.address())
	}
	stopped := time.Now()
	first.Stop(t)
	owners.Await(t, "n2")
	probe.Await(t, "n2")
	outage := probe.Outage(stopped)
	t.Logf("outage: preempted %v, stopped %v; two owners %v", preempted, outage, owners.Two(begun))
	// A backup that hears the last advert waits for its skew, and no longer. What is
	// granted beside that is less than what it waits without one.
	if skew := w.masterDown(100) - 3*w.advert; outage > skew+max(w.advert, 250*time.Millisecond) {
		t.Errorf("stopping cost %v, the backup's skew is %v", outage, skew)
	}
	if preempted > time.Second {
		t.Errorf("coming back cost %v", preempted)
	}
	if held != nil {
		if at := held.Ended(t); at.Sub(stopped) > time.Second {
			t.Errorf("the held connection was ended %v after the stop", at.Sub(stopped))
		}
	}

	_, over := high.start(t, l, l.Nodes[0], w, 150)
	owners.Await(t, "n1")
	probe.Await(t, "n1")
	if two := owners.Two(begun); two > 200*time.Millisecond {
		t.Errorf("two owned for %v", two)
	}
	for _, n := range []*member{over, under} {
		if n == nil {
			continue
		}
		if s := n.stats(t); sum(s.Rejected) > 0 || s.Received == 0 || sum(s.Failures) > 0 || sum(s.Alarms) > 0 {
			t.Errorf("statistics: %+v", s)
		}
	}
	for _, bad := range []string{"bad vrrp cksum", "bad cksum", "truncated"} {
		dump.Quiet(t, bad)
	}
	dump.Await(t, "vrid 51, prio 150")
}

// A keepalived that is given another priority while it runs: the address goes to
// whoever has the higher one now, and the clients with it.
func TestReloadedPeer(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{fastMulticast, fastSix, slowUnicast} {
		t.Run(w.String(), func(t *testing.T) {
			if w.advert >= time.Second {
				long(t)
			}
			s := play(t, w, ours, guest)
			for _, turn := range []struct {
				priority int
				owner    string
			}{{250, "n2"}, {50, "n1"}, {250, "n2"}} {
				reloaded := time.Now()
				s.Nodes[1].Reload(t, s.procs[1], w.keepalived(s.LAN, s.Nodes[1], turn.priority))
				s.is(t, turn.owner)
				s.fresh(t, turn.owner)
				wait(time.Second) // for an outage that is still to come
				s.one(t, reloaded, 200*time.Millisecond)
				if o := s.probe.Outage(reloaded); o > time.Second {
					t.Errorf("outage %v", o)
				}
			}
			if st := s.nodes[0].stats(t); sum(st.Rejected) > 0 || sum(st.Failures) > 0 {
				t.Errorf("statistics: %+v", st)
			}
		})
	}
}
