//go:build linux

package vip

import (
	"fmt"
	"testing"
	"time"
)

var equal = []int{100, 100}

// pairs are those in which each kind meets the other from either side.
var pairs = [][]maker{{ours, ours}, {ours, guest}, {guest, ours}}

// Of two nodes with the same priority the one that owns goes on owning, whoever has
// the greater address.
func TestEqualStays(t *testing.T) {
	t.Parallel()
	for _, makers := range pairs {
		t.Run(fmt.Sprint(makers), func(t *testing.T) {
			s := playWith(t, middle, equal, makers...)
			if n := s.nodes[1]; n != nil {
				begun := time.Now()
				n.until(t, "it hears the owner for longer than its patience", func(st Stats) bool {
					return st.Peer != nil && st.Peer.Heard.Sub(begun) > s.wire.masterDown(100)
				})
			} else {
				heard := s.nodes[0].stats(t)
				s.nodes[0].until(t, "it advertises to the other", func(st Stats) bool { return st.Sent > heard.Sent+4 })
			}
			if m := s.owners.Moves(time.Time{}); m != 1 {
				t.Errorf("the address has moved %d times", m)
			}
		})
	}
}

// When both own, the greater address decides, and the clients follow.
func TestEqualTie(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{fastMulticast, fastUnicast, fastSixUni} {
		for _, makers := range pairs {
			t.Run(fmt.Sprintf("%v/%v", w, makers), func(t *testing.T) {
				s := playWith(t, w, equal, makers...)
				s.Split(t)
				s.owners.Await(t, "n1", "n2")
				joined := time.Now()
				s.Join(t)
				s.is(t, "n2")
				s.fresh(t, "n2")
				wait(time.Second) // for an outage that is still to come
				if o := s.probe.Outage(joined); o > time.Second {
					t.Errorf("outage %v", o)
				}
			})
		}
	}
}

// An owner that was suspended for longer than its lease, while another of the same
// priority took over, comes back as a backup and takes nothing back.
func TestSuspendedOwner(t *testing.T) {
	long(t)
	t.Parallel()
	for _, peer := range []maker{ours, guest} {
		t.Run(string(peer), func(t *testing.T) {
			s := playWith(t, slowMulticast, equal, ours, peer)
			begun := time.Now()
			s.procs[0].Freeze()
			s.is(t, "n2")
			s.procs[0].Thaw()
			// It may have yielded to what it had not heard yet, or have noticed that it slept.
			s.nodes[0].until(t, "it hears the other for longer than its patience", func(st Stats) bool {
				return st.State == Backup && st.Since.After(begun) && st.Peer != nil &&
					st.Peer.Heard.Sub(st.Since) > s.wire.masterDown(100)
			})
			s.is(t, "n2")
			s.one(t, begun, 0)
			s.fresh(t, "n2")
			if m := s.owners.Moves(begun); m != 1 {
				t.Errorf("the address has moved %d times", m)
			}
		})
	}
}

// A backup that was suspended for longer than its patience has heard nobody, and
// listens before it takes anything.
func TestSuspendedBackup(t *testing.T) {
	long(t)
	t.Parallel()
	for _, owner := range []maker{ours, guest} {
		t.Run(string(owner), func(t *testing.T) {
			s := play(t, middle, owner, ours)
			begun := time.Now()
			s.procs[1].Freeze()
			wait(2 * s.wire.masterDown(150))
			s.procs[1].Thaw()
			thawed := time.Now()
			s.nodes[1].until(t, "it hears the owner for longer than its patience", func(st Stats) bool {
				return st.Peer != nil && st.Peer.Heard.Sub(thawed) > s.wire.masterDown(150)
			})
			if st := s.nodes[1].stats(t); st.Transitions[Master] > 0 || s.owners.Moves(begun) > 0 {
				t.Errorf("it has been the owner: %+v", st)
			}
		})
	}
}
