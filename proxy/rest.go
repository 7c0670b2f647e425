package proxy

import (
	"context"
	"fmt"
	"time"
)

// blockedAfter is how long a blocking command must have been out to be one that
// waits: one that finds what it wants is answered at once.
const blockedAfter = 10 * time.Millisecond

// Rest waits, under a View that does not serve, until nothing is under way to this
// master any more: every command that has been sent is answered, but for blocking
// ones that wait with nothing behind them. It returns an error that says how many
// are not, once ctx ends. It may be called from any goroutine.
func (p *Proxy) Rest(ctx context.Context, name string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for last := 0; ; {
		busy, err := p.busy(ctx, name)
		switch {
		case err != nil && last > 0: // ctx has ended in the middle of another look
			busy = last
		case err != nil || busy == 0:
			return err
		}
		last = busy
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d clients still have an answer to come", busy)
		}
	}
}

// busy counts the sessions of this master with something under way.
func (p *Proxy) busy(ctx context.Context, name string) (busy int, err error) {
	for i, l := range p.loops {
		counted := make(chan int, 1)
		if !l.post(func(l *loop) { counted <- l.busy(name) }) {
			continue // it has ended, and its sessions with it
		}
		select {
		case n := <-counted:
			busy += n
		case <-ctx.Done():
			return busy, fmt.Errorf("loop %d of %d does not answer", i+1, len(p.loops))
		}
	}
	return busy, nil
}

func (l *loop) busy(name string) (n int) {
	for fd := range l.slots {
		if s := l.slots[fd].s; s != nil && s.site.m.name == name && s.underWay(l.now) {
			n++
		}
	}
	return n
}

// underWay tells whether the node may still execute something for a client.
// Of a tunnel nobody knows.
func (s *session) underWay(now time.Time) bool {
	p := s.pend
	if s.up == nil || p == nil || !p.sentWhole() {
		return false
	}
	waits := p.len() == 1 && now.Sub(s.sentAt) > blockedAfter && s.site.m.table.Load().of(p.command())&traitBlocking != 0
	return !waits
}
