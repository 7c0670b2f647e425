//go:build linux

package vip

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/lan"
)

// scene is a LAN on which the first node owns the address, and the last has the
// lowest priority.
type scene struct {
	*lan.LAN
	wire   wire
	owners *lan.Owners
	probe  *lan.Probe
	procs  []*lan.Process
	nodes  []*member // nil for keepalived
}

// play sets the scene with routers of these kinds, beside other tests.
func play(t *testing.T, w wire, makers ...maker) *scene {
	t.Helper()
	return playWith(t, w, []int{200, 150, 100}, makers...)
}

// playWith sets it with other priorities. The first node starts first.
func playWith(t *testing.T, w wire, priorities []int, makers ...maker) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{LAN: lan.New(t, len(makers)), wire: w}
	s.owners, s.probe = s.Watch(t, w.address()), s.LAN.Probe(t, w.address())
	for i, m := range makers {
		if m == guest {
			lan.Need(t, "keepalived")
			s.Nodes[i].Serve(t)
		}
		p, n := m.start(t, s.LAN, s.Nodes[i], w, priorities[i])
		s.procs, s.nodes = append(s.procs, p), append(s.nodes, n)
		s.owners.Await(t, "n1")
	}
	s.is(t, "n1")
	return s
}

// is waits until the node owns the address, alone, and clients are served by it.
func (s *scene) is(t *testing.T, node string) {
	t.Helper()
	s.owners.Await(t, node)
	s.probe.Await(t, node)
}

// one checks that nobody shared the address for longer than that.
func (s *scene) one(t *testing.T, since time.Time, most time.Duration) {
	t.Helper()
	two, none := s.owners.Two(since), s.owners.None(since)
	t.Logf("two owners for %v, none for %v, outage %v", two, none, s.probe.Outage(since))
	if two > most {
		t.Errorf("two owned for %v, at most %v was to be", two, most)
	}
}

// fresh checks that clients that come anew all reach the node.
func (s *scene) fresh(t *testing.T, node string) {
	t.Helper()
	if got := s.Fresh(t, s.wire.address(), 20); got[node] != 20 {
		t.Errorf("of 20 fresh clients these reached %v, not all %s", got, node)
	}
}

// wait lets time pass that is itself what is tested, by the kernel's clock.
func wait(d time.Duration) { <-time.After(d) }

func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes over 5 s")
	}
}

// An owner that is killed or frozen keeps the address for no longer than the
// lease, which at an interval of a second is over before anybody takes it.
func TestDeadOwner(t *testing.T) {
	long(t)
	t.Parallel()
	for _, backup := range []maker{ours, guest} {
		t.Run("killed/"+string(backup), func(t *testing.T) {
			s := play(t, slowMulticast, ours, backup)
			begun := time.Now()
			s.procs[0].Kill()
			s.is(t, "n2")
			s.one(t, begun, 0)
			s.fresh(t, "n2")
			if o := s.probe.Outage(begun); o > s.wire.masterDown(150)+time.Second {
				t.Errorf("outage %v", o)
			}
		})
		t.Run("frozen/"+string(backup), func(t *testing.T) {
			s := play(t, slowMulticast, ours, backup)
			begun := time.Now()
			s.procs[0].Freeze()
			s.is(t, "n2")
			s.one(t, begun, 0)
			s.fresh(t, "n2")
			thawed := time.Now()
			s.procs[0].Thaw()
			// It waits as a backup before it takes the address again.
			s.nodes[0].until(t, "it has slept", func(st Stats) bool { return st.Lease.Slept == 1 })
			s.is(t, "n1")
			s.one(t, thawed, 200*time.Millisecond)
			if o := s.probe.Outage(thawed); o > time.Second {
				t.Errorf("outage %v after thawing", o)
			}
			s.fresh(t, "n1")
		})
	}
}

// With a tenth of a second there is an overlap, and it has a bound: the shortest
// lifetime, the second in which the kernel removes, and what the election takes
// from that.
func TestDeadOwnerFast(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	begun := time.Now()
	s.procs[0].Kill()
	s.is(t, "n2")
	s.one(t, begun, 2*time.Second-3*s.wire.advert)
	s.fresh(t, "n2")
}

// A stall shorter than the lease changes nothing; after a longer one the owner
// does not take up where it left.
func TestStall(t *testing.T) {
	long(t)
	t.Parallel()
	t.Run("short", func(t *testing.T) {
		s := play(t, slowMulticast, ours, ours)
		begun := time.Now()
		s.procs[0].Freeze()
		wait(800 * time.Millisecond)
		s.procs[0].Thaw()
		wait(3 * time.Second) // for what must not happen
		if n, none := s.owners.Moves(begun), s.owners.None(begun); n > 0 || none > 0 {
			t.Errorf("the address moved %d times and was away for %v", n, none)
		}
		if st := s.nodes[0].stats(t); st.State != Master || st.Lease.Slept > 0 || st.Lease.LatenessMax == 0 && st.Sent < 3 {
			t.Errorf("statistics: %+v", st)
		}
	})
	t.Run("long", func(t *testing.T) {
		s := play(t, slowMulticast, ours, ours)
		begun := time.Now()
		s.procs[0].Freeze()
		wait(1500 * time.Millisecond)
		s.procs[0].Thaw()
		s.probe.Await(t, "n1")
		s.one(t, begun, 0)
		s.fresh(t, "n1")
	})
	t.Run("fast", func(t *testing.T) { // slept, back, announced, within seconds
		s := play(t, fastMulticast, ours, ours)
		begun := time.Now()
		s.procs[0].Freeze()
		s.owners.Await(t, "n2")
		s.procs[0].Thaw()
		thawed := time.Now()
		s.is(t, "n1")
		s.one(t, begun, 2*time.Second)
		if o := s.probe.Outage(thawed); o > time.Second {
			t.Errorf("outage %v after thawing", o)
		}
	})
}

// Without carrier the address goes at once, and with it comes back.
func TestLink(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name       string
		cut, mend_ func(*lan.Host, testing.TB)
	}{
		{"port", (*lan.Host).Unplug, (*lan.Host).Plug},
		{"interface", (*lan.Host).Down, (*lan.Host).Up},
	} {
		for _, backup := range []maker{ours, guest} {
			t.Run(f.name+"/"+string(backup), func(t *testing.T) {
				s := play(t, fastMulticast, ours, backup)
				begun := time.Now()
				f.cut(s.Nodes[0], t)
				s.is(t, "n2")
				s.one(t, begun, 0)
				s.nodes[0].until(t, "fault", func(st Stats) bool { return st.State == Fault && st.Source == "" })
				back := time.Now()
				f.mend_(s.Nodes[0], t)
				s.is(t, "n1")
				s.one(t, back, 200*time.Millisecond)
				if o := s.probe.Outage(back); o > time.Second {
					t.Errorf("outage %v when the link came back", o)
				}
			})
		}
	}
}

// A partition that nobody is told of, and its end: whoever yields, the clients
// follow within a second, each time.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{fastMulticast, fastUnicast, fastSix, slowMulticast} {
		for _, makers := range [][]maker{{ours, ours}, {ours, guest}, {guest, ours}, {ours, ours, ours}} {
			t.Run(fmt.Sprintf("%v/%v", w, makers), func(t *testing.T) {
				rounds := 3
				if w.advert >= time.Second {
					long(t)
					rounds = 2
				}
				s := play(t, w, makers...)
				for round := range rounds {
					s.Nodes[0].Partition(t)
					s.owners.Await(t, "n1", "n2")
					s.probe.Await(t, "n2")
					// The owner's adverts must meet the usurper's at another moment each time.
					wait(time.Duration(round) * w.advert / 3)
					healed := time.Now()
					s.Nodes[0].Heal(t)
					s.owners.Await(t, "n1")
					resolved := time.Since(healed)
					s.probe.Await(t, "n1")
					wait(time.Second) // for an outage that is still to come
					o := s.probe.Outage(healed)
					t.Logf("one owner after %v, outage %v", resolved, o)
					if o > time.Second {
						t.Errorf("clients were away for %v after the partition", o)
					}
				}
			})
		}
	}
}

// Nodes that do not hear each other both own, as VRRP has it; when they do again
// one yields, and the clients follow.
func TestSplit(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	s.Split(t)
	s.owners.Await(t, "n1", "n2")
	s.Join(t)
	joined := time.Now()
	s.is(t, "n1")
	wait(time.Second) // for an outage that is still to come
	if o := s.probe.Outage(joined); o > time.Second {
		t.Errorf("outage %v", o)
	}
}

// Of three nodes the next one takes over, and the last stays what it is.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	for _, makers := range [][]maker{{ours, ours, ours}, {ours, guest, ours}} {
		t.Run(fmt.Sprint(makers), func(t *testing.T) {
			s := play(t, fastUnicast, makers...)
			s.procs[0].Kill()
			s.is(t, "n2")
			s.fresh(t, "n2")
			stopped := time.Now()
			s.procs[1].Stop(t)
			s.is(t, "n3")
			s.one(t, stopped, 0)
			ours.start(t, s.LAN, s.Nodes[0], s.wire, 200)
			s.is(t, "n1")
			if s := s.nodes[2].stats(t); s.State != Backup || s.Peer == nil || s.Peer.Priority != 200 {
				t.Errorf("the third: %+v", s)
			}
		})
	}
}

// An owner that cannot serve lets go at once, whether or not others preempt, and
// with all of them unfit nobody owns.
func TestUnfit(t *testing.T) {
	t.Parallel()
	for _, preempt := range []bool{true, false} {
		t.Run(fmt.Sprintf("preempt-%v", preempt), func(t *testing.T) {
			t.Parallel()
			l := lan.New(t, 2)
			owners, probe := l.Watch(t, address4), l.Probe(t, address4)
			var nodes []*member
			for i, h := range l.Nodes {
				v := slowMulticast.vip(l, 200-100*i)
				v.Preempt = preempt
				nodes = append(nodes, run(t, h, orders{}, v))
			}
			s := &scene{LAN: l, wire: slowMulticast, owners: owners, probe: probe, nodes: nodes}
			s.is(t, "n1")
			held := l.Hold(t, address4)
			begun := time.Now()
			nodes[0].say(t, "unfit the master is not verified")
			s.is(t, "n2")
			s.one(t, begun, 0)
			if o := probe.Outage(begun); o > time.Second {
				t.Errorf("outage %v", o)
			}
			held.Ended(t)
			nodes[0].until(t, "the reason", func(st Stats) bool { return st.State == Fault && st.Why == "the master is not verified" })
			nodes[1].say(t, "unfit neither here")
			owners.Await(t)
			nodes[0].say(t, "fit")
			s.is(t, "n1")
		})
	}
}

// The Redis master's node is preferred: at once where nobody owns yet, and later
// only if it stays there.
func TestPreferLocalMaster(t *testing.T) {
	long(t)
	t.Parallel()
	l := lan.New(t, 2)
	owners := l.Watch(t, address4)
	var nodes []*member
	for i, h := range l.Nodes {
		v := fastMulticast.vip(l, 110-10*i)
		v.PreferLocalMaster = 50
		n := run(t, h, orders{Unfit: true}, v)
		nodes = append(nodes, n)
	}
	nodes[1].say(t, "fit master")
	nodes[0].say(t, "fit")
	owners.Await(t, "n2")
	moved := time.Now()
	nodes[1].say(t, "fit")
	nodes[0].say(t, "fit master")
	owners.Await(t, "n1")
	if took := time.Since(moved); took < settle {
		t.Errorf("the address followed after %v, and %v is to pass first", took, settle)
	}
	if s := nodes[0].stats(t); s.Priority != (Priority{Configured: 110, Effective: 160}) {
		t.Errorf("priority %+v", s.Priority)
	}
}

// A higher priority that comes back lets a living owner be.
func TestNoPreempt(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 2)
	owners := l.Watch(t, address4)
	low, high := middle.vip(l, 100), middle.vip(l, 200)
	high.Preempt = false
	run(t, l.Nodes[1], orders{}, low)
	owners.Await(t, "n2")
	begun := time.Now()
	n := run(t, l.Nodes[0], orders{}, high)
	n.until(t, "it heard the owner often", func(s Stats) bool { return s.Received > 6 })
	if m := owners.Moves(begun); m > 0 {
		t.Errorf("the address moved %d times", m)
	}
}

// What an earlier life has left is removed at the start, whatever its prefix.
func TestLeftOver(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 1)
	if err := l.Nodes[0].IP("addr add 10.78.0.100/24 dev eth0", "addr add 10.78.0.100/32 dev eth0"); err != nil {
		t.Fatal(err)
	}
	owners := l.Watch(t, address4)
	owners.Await(t, "n1")
	n := run(t, l.Nodes[0], orders{Unfit: true}, fastMulticast.vip(l, 100))
	owners.Await(t)
	n.until(t, "it sends from its own address", func(s Stats) bool { return s.Source == l.Nodes[0].Addr.String() })
	n.say(t, "fit")
	owners.Await(t, "n1")
}

// Who takes the address away from its owner by hand, or gives it to a backup, does
// not keep it so.
func TestMeddling(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	capture := s.Client.Capture(t, "arp")
	before := s.nodes[0].stats(t)
	if err := s.Nodes[0].IP("addr del 10.78.0.100/32 dev eth0"); err != nil {
		t.Fatal(err)
	}
	s.nodes[0].until(t, "it has yielded and owns again", func(st Stats) bool {
		return st.Transitions[Backup] > before.Transitions[Backup] && st.State == Master
	})
	s.is(t, "n1")
	capture.Await(t, "10.78.0.100")
	if err := s.Nodes[1].IP("addr add 10.78.0.100/32 dev eth0"); err != nil {
		t.Fatal(err)
	}
	s.nodes[1].until(t, "the alarm", func(st Stats) bool { return st.Alarms[strayAddress] == 1 })
	s.is(t, "n1")
}

// What else configures the address on the owner, with a prefix, would keep it there
// when the owner dies. It is removed with an alarm, and the owner is not disturbed.
func TestDoubled(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	if err := s.Nodes[0].IP("addr add 10.78.0.100/24 dev eth0"); err != nil {
		t.Fatal(err)
	}
	s.nodes[0].until(t, "the alarm", func(st Stats) bool { return st.Alarms[strayAddress] == 1 })
	s.procs[0].Await(t, "was put on eth0 by somebody else, in a prefix")
	s.is(t, "n1")
	if st := s.nodes[0].stats(t); st.Transitions[Master] != 1 {
		t.Errorf("it became the owner %d times", st.Transitions[Master])
	}
	s.procs[0].Kill()
	s.is(t, "n2")
	s.fresh(t, "n2")
}

// An interface that is taken away and made anew is used again, though it is another
// one to the kernel.
func TestInterfaceAnew(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	s.Nodes[0].Replug(t)
	s.nodes[0].until(t, "it owns again", func(st Stats) bool { return st.State == Master && st.Transitions[Master] > 1 })
	s.is(t, "n1")
}

// When the kernel had to drop reports the interface is looked at as a whole.
func TestLostReports(t *testing.T) {
	s := play(t, fastMulticast, ours, ours)
	s.procs[0].Freeze()
	var changes []string
	for range 1500 {
		changes = append(changes, "addr add 10.79.0.1/32 dev lo", "addr del 10.79.0.1/32 dev lo")
	}
	err := s.Nodes[0].IP(changes...)
	s.procs[0].Thaw()
	if err != nil {
		t.Fatal(err)
	}
	s.procs[0].Await(t, "the kernel reports again")
	s.is(t, "n1")
	if err := s.Nodes[0].IP("addr del 10.78.0.100/32 dev eth0"); err != nil {
		t.Fatal(err)
	}
	s.procs[0].Await(t, "is gone from eth0")
	s.is(t, "n1")
}

// A farewell that hangs does not keep the address, and is not begun again.
func TestHangingFarewell(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 1)
	owners := l.Watch(t, address4)
	n := run(t, l.Nodes[0], orders{Hang: true}, fastMulticast.vip(l, 100))
	for round := range uint64(3) {
		owners.Await(t, "n1")
		n.say(t, "unfit for the test")
		owners.Await(t)
		n.until(t, "the failure", func(s Stats) bool { return s.Failures["leave"] == round+1 })
		n.say(t, "fit")
	}
	n.Await(t, "clients are ended: 1")
	n.Quiet(t, "clients are ended: 2")
	n.Signal(syscall.SIGTERM)
}
