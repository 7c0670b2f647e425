package proxy

import (
	"math/rand/v2"
	"testing"
)

// TestOwnersAreServedInTheOrderOfTheirCommands drives owners beside a plain list.
func TestOwnersAreServedInTheOrderOfTheirCommands(t *testing.T) {
	sessions := []*session{{}, {}, {}, {}}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var o owners
		var plain []*session
		for range 2000 {
			if s, n := sessions[r.IntN(len(sessions))], r.IntN(4); r.IntN(2) == 0 {
				o.add(s, n)
				for range n {
					plain = append(plain, s)
				}
			} else if len(plain) > 0 {
				o.pop()
				plain = plain[1:]
			}
			var next *session
			if len(plain) > 0 {
				next = plain[0]
			}
			if o.next() != next || o.empty() != (len(plain) == 0) {
				t.Fatalf("seed %d: the next reply is %p's, not %p's; %d are due", seed, o.next(), next, len(plain))
			}
		}
	}
}

// TestOwnersWithoutEndKeepNoMoreThanIsDue: what was served is forgotten while
// there is always something due.
func TestOwnersWithoutEndKeepNoMoreThanIsDue(t *testing.T) {
	a, b := &session{}, &session{}
	var o owners
	o.add(a, 1)
	for range 100000 {
		o.add(b, 1)
		o.add(a, 1)
		o.pop()
		o.pop()
	}
	if cap(o.runs) > 64 {
		t.Errorf("for 1 reply that is due there is room for %d", cap(o.runs))
	}
	for i, r := range o.runs[:cap(o.runs)][:o.head] {
		if r.s != nil {
			t.Errorf("run %d, which was served, keeps its session", i)
		}
	}
}

func TestOwnersTellWhetherSomebodyElseWaits(t *testing.T) {
	a, b, gone := &session{}, &session{}, &session{phase: phaseClosed}
	var o owners
	if o.other(a) {
		t.Error("nobody waits, and yet somebody else does")
	}
	o.add(a, 3)
	o.add(gone, 1)
	if o.other(a) || !o.other(b) {
		t.Errorf("only a waits: other than a %v, other than b %v", o.other(a), o.other(b))
	}
	o.add(b, 1)
	if !o.other(a) {
		t.Error("b waits behind a")
	}
	o.add(a, 0)
	for range 4 {
		o.pop()
	}
	if o.other(b) || o.next() != b {
		t.Error("only b waits")
	}
}

// TestWhoLeavesIsParkedNowhere: else it would not be parked at the next upstream
// that is full, and never be read again.
func TestWhoLeavesIsParkedNowhere(t *testing.T) {
	u := &upstream{share: &sharing{members: 1}}
	s := &session{up: u, queued: true, parked: true}
	new(loop).leaveShared(s, u)
	if s.queued || s.parked || u.share.members != 0 {
		t.Errorf("queued %v, parked %v, %d members are left", s.queued, s.parked, u.share.members)
	}
}
