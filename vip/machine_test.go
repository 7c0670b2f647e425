package vip

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/config"
)

// The timers of RFC 3768 6.1 and RFC 9568 6.1.
func TestTimers(t *testing.T) {
	for _, c := range []struct {
		version, priority int
		interval          time.Duration
		skew, masterDown  time.Duration
	}{
		{2, 1, time.Second, 996093750, 3996093750},
		{2, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{2, 254, time.Second, 7812500, 3007812500},
		{2, 255, time.Second, 3906250, 3003906250},
		{2, 100, 255 * time.Second, 609375 * time.Microsecond, 765609375 * time.Microsecond},
		{3, 1, centisecond, 9960937, 39960937},
		{3, 100, centisecond, 6093750, 36093750},
		{3, 254, centisecond, 78125, 30078125},
		{3, 1, time.Second, 996093750, 3996093750},
		{3, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{3, 254, time.Second, 7812500, 3007812500},
		{3, 1, 4095 * centisecond, 40790039062, 163640039062},
		{3, 100, 4095 * centisecond, 24953906250, 147803906250},
		{3, 254, 4095 * centisecond, 319921875, 123169921875},
	} {
		v := config.DefaultVIP()
		v.Version, v.Priority, v.AdvertInterval = c.version, c.priority, config.Duration(c.interval)
		m := newMachine(v, address("B"), time.Time{})
		if skew, down := m.skew(), m.masterDown(); skew != c.skew || down != c.masterDown {
			t.Errorf("version %d, priority %d, %v: skew %v, Master_Down %v, want %v, %v",
				c.version, c.priority, c.interval, skew, down, c.skew, c.masterDown)
		}
	}
}

// Whatever comes in whatever order, what goes out holds together: an owner's
// advert stands behind a fresh lease, the state that is entered is the one that the
// machine is in, the addresses are taken only by one that becomes an owner and
// dropped by one that no longer is, and time alone never makes it due without end.
func TestAnyInput(t *testing.T) {
	seeds := uint64(2000)
	if testing.Short() {
		seeds = 200
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newStory(t)
		s.vip.Priority = []int{1, 100, 254, 255}[r.IntN(4)]
		if s.vip.Priority != ownsAlways {
			s.vip.Preempt = r.IntN(2) == 0
			s.vip.PreemptDelay = config.Duration(r.IntN(2)) * config.Duration(5*time.Second)
		}
		if s.vip.Version = 2 + r.IntN(2); s.vip.Version == 3 {
			s.vip.AdvertInterval = config.Duration(centisecond) * config.Duration(1+r.IntN(200))
		}
		s.m = newMachine(s.vip, address("B"), s.now)
		owns := false
		for range 300 {
			before := s.m.state
			actions := s.anything(r)
			owns = check(t, seed, s.m, before, owns, actions)
			for n := 0; ; n++ {
				next := s.m.next()
				if next.IsZero() || next.After(s.now) {
					break
				}
				if n > 3 {
					t.Fatalf("seed %d: due at %v without end", seed, next)
				}
				before = s.m.state
				owns = check(t, seed, s.m, before, owns, s.m.tick(s.now))
			}
		}
	}
}

// anything happens, some time later.
func (s *story) anything(r *rand.Rand) []action {
	s.now = s.now.Add(time.Duration(r.Int64N(int64(s.m.own()) * 2)))
	if r.IntN(50) == 0 {
		s.now = s.now.Add(time.Duration(r.Int64N(int64(time.Minute))))
	}
	switch r.IntN(15) {
	case 0:
		return s.m.fit(s.now, Fitness{Fit: r.IntN(4) > 0, Why: "so", LocalMaster: r.IntN(2) == 0})
	case 1:
		return s.m.link(s.now, []string{"", "", "down"}[r.IntN(3)])
	case 2:
		return s.m.appeared(s.now, s.vip.Addresses[0])
	case 3:
		return s.m.lost(s.now, s.vip.Addresses[0])
	case 4:
		return s.m.slept(s.now, time.Second)
	case 5:
		return s.m.failed(s.now, errors.New("no room"))
	case 6:
		if r.IntN(20) == 0 {
			return s.m.shutdown(s.now)
		}
		fallthrough
	case 7, 8, 9:
		a := advert{version: s.vip.Version, interval: s.m.own(), priority: []int{0, 1, 99, 100, 101, 254, 255}[r.IntN(7)]}
		if s.vip.Version == 3 {
			a.interval = centisecond * time.Duration(1+r.IntN(4095))
		}
		return s.m.hear(s.now, address([]string{"A", "C"}[r.IntN(2)]), a)
	case 10:
		return s.m.doubled(s.now, s.vip.Addresses[0])
	}
	return s.m.tick(s.now)
}

// check holds the actions of one input against the rules, and says whether the
// addresses are on the interface after them.
func check(t *testing.T, seed uint64, m *machine, before State, owns bool, actions []action) bool {
	t.Helper()
	entered := before
	fresh := false
	for _, a := range actions {
		switch a.kind {
		case take:
			owns, fresh = true, true
		case refresh:
			if !owns {
				t.Fatalf("seed %d: refreshes what it does not have: %v", seed, actions)
			}
			fresh = true
		case drop:
			owns, fresh = false, false
		case send:
			last := a.advert.priority == resigning || !owns && before == Master
			if !last && !fresh {
				t.Fatalf("seed %d: advertises without a fresh lease: %v", seed, actions)
			}
		case announce, leave:
			if !owns {
				t.Fatalf("seed %d: nothing to announce or to leave: %v", seed, actions)
			}
		case enter:
			entered = a.state
		}
	}
	if entered != m.state {
		t.Fatalf("seed %d: is %v without having told so: %v", seed, m.state, actions)
	}
	if owns != (m.state == Master) {
		t.Fatalf("seed %d: has the addresses: %v, as %v: %v", seed, owns, m.state, actions)
	}
	if m.stopped && len(actions) > 0 && entered != Initialize {
		t.Fatalf("seed %d: acts after its end: %v", seed, actions)
	}
	return owns
}
