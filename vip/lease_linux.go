package vip

import (
	"errors"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// lease keeps the addresses on the interface for a short time at once. Refreshed
// before each advert, it ends before any peer's patience does: a peer waits for at
// least three adverts, and the kernel takes an address away up to a second after
// its lifetime, which it counts in whole seconds. So an owner that is killed or
// frozen has lost the addresses before another takes them, with no process to see
// to it. That holds while lifetime + 1 s is no more than three adverts; where a
// second is already too much the overlap is at most the rest.
//
// Refreshing and advertising are one act. More refreshes than adverts would keep
// the addresses for longer than the peers believe.
type lease struct {
	link     *link
	interval time.Duration // between adverts
	lifetime time.Duration

	held      bool
	refreshed time.Duration // on the clock of sinceBoot
	wall      time.Time     // the same for people
	lateness  time.Duration // the most a refresh came late
	slept     int
}

func newLease(l *link, interval time.Duration) *lease {
	lifetime := (3*interval - time.Second).Truncate(time.Second)
	return &lease{link: l, interval: interval, lifetime: max(lifetime, time.Second)}
}

// pin ties the goroutine to a thread of its own until it ends, so that the lease
// waits for no other goroutine's system calls, and asks for more of the CPU than
// the threads that serve clients get. Without CAP_SYS_NICE that is refused, which
// is not a fault: on a machine that is busy with other things the lease is then
// refreshed later, by the tenths of a second that its lateness shows.
func pin() {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
}

// sinceBoot goes on while the machine is suspended, which time.Now does not.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("vip: CLOCK_BOOTTIME: " + err.Error()) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// asleep is that the lease was not refreshed in time.
type asleep struct{ gap time.Duration }

func (a asleep) Error() string {
	return "stood still for " + a.gap.Round(time.Millisecond).String() + ", longer than the lease lasts"
}

// take begins a lease.
func (l *lease) take() error {
	l.held = true
	return l.renew(sinceBoot())
}

// refresh makes the lease last for another lifetime, unless it may have ended
// already: the kernel would make a new address of it, behind the back of the next
// owner. That is looked at again afterwards, for one can be frozen in between.
func (l *lease) refresh() error {
	if !l.held {
		return errors.New("there is no lease to refresh")
	}
	now := sinceBoot()
	gap := now - l.refreshed
	l.lateness = max(l.lateness, gap-l.interval)
	if gap > l.lifetime {
		return l.sleep(gap)
	}
	before := l.refreshed
	if err := l.renew(now); err != nil {
		return err
	}
	if gap = sinceBoot() - before; gap > l.lifetime {
		return l.sleep(gap)
	}
	return nil
}

func (l *lease) sleep(gap time.Duration) error {
	l.slept++
	return asleep{gap}
}

// renew counts from before the kernel does, so the kernel's lease lasts longer.
func (l *lease) renew(now time.Duration) error {
	if err := l.link.put(l.lifetime); err != nil {
		return err
	}
	l.refreshed, l.wall = now, time.Now()
	return nil
}

// drop ends the lease. It returns the addresses that were still there.
func (l *lease) drop() ([]netip.Addr, error) {
	l.held = false
	return l.link.remove()
}

func (l *lease) stats() Lease {
	return Lease{
		Held: l.held, Lifetime: Seconds(l.lifetime.Seconds()), Refreshed: l.wall,
		LatenessMax: Seconds(l.lateness.Seconds()), Slept: l.slept,
	}
}
