package proxy

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"holdfast/sentinel"
)

// Carried is what one failover was to the clients: from the View that stopped
// serving to the moment when nobody waited any more.
type Carried struct {
	At        time.Time `json:"at"` // when the old View stopped serving
	From      string    `json:"from"`
	To        string    `json:"to"`
	Reason    string    `json:"reason"`    // why it stopped serving
	Unserved  float64   `json:"unserved"`  // seconds without a serving View
	Took      float64   `json:"took"`      // seconds until the last client was carried over
	Held      uint64    `json:"held"`      // clients that had something to send and waited
	Resent    uint64    `json:"resent"`    // commands that were sent again
	Uncertain uint64    `json:"uncertain"` // commands with an unknown outcome
	Expired   uint64    `json:"expired"`   // commands that waited too long
	Cut       uint64    `json:"cut"`       // clients that could not be kept
}

const (
	keptCarried = 10
	// settleTime is how long after a switch clients are still counted to it.
	settleTime = 5 * time.Second
)

// follow tells the loops of each new View and keeps the account of failovers. A
// failover is counted from a second or two before it was noticed, because
// clients lose their upstreams before anybody knows why.
// No View can be missed for good: the newest is loaded before its successor is
// awaited.
func (p *Proxy) follow(ctx context.Context, m *master) {
	var open *Carried
	var before, earlier, recent Counters
	var last *sentinel.View // that served
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		v := m.tracker.View()
		for _, l := range p.loops {
			l.post(func(l *loop) { l.onView(m.index, v) })
		}
		if open == nil && last != nil && (!v.Serving() || v.Master != last.Master) {
			before = earlier
			open = &Carried{At: v.Since, From: last.Master, Reason: v.Reason}
		}
		if v.Serving() {
			if open != nil && p.settled(ctx, m, v) {
				open.To, open.Unserved = v.Master, v.Since.Sub(open.At).Seconds()
				m.noteCarried(p.log, open, before, p.counters(m))
				open = nil
			}
			last = v
		}
		for waiting := true; waiting; {
			select {
			case <-tick.C:
				earlier, recent = recent, p.counters(m)
			case <-v.Superseded():
				waiting = false
			case <-ctx.Done():
				return
			}
		}
	}
}

// settled waits until nobody waits for this master any more; false when the
// View has gone before.
func (p *Proxy) settled(ctx context.Context, m *master, v *sentinel.View) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(settleTime); time.Now().Before(end); {
		select {
		case <-tick.C:
			if m.waiting.Load() == 0 {
				return true
			}
		case <-v.Superseded():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (m *master) noteCarried(log zerolog.Logger, c *Carried, before, after Counters) {
	c.Took = time.Since(c.At).Seconds()
	c.Held = after.Holds - before.Holds
	c.Resent = after.Resent - before.Resent
	c.Uncertain = after.Refused[refusedUncertain.String()] - before.Refused[refusedUncertain.String()]
	c.Expired = after.Refused[refusedExpired.String()] - before.Refused[refusedExpired.String()]
	for _, why := range []cut{cutSlow, cutHalfReply, cutState, cutLogin, cutTunnel} {
		c.Cut += after.Closed[why.String()] - before.Closed[why.String()]
	}
	m.mu.Lock()
	if m.carried = append(m.carried, *c); len(m.carried) > keptCarried {
		m.carried = slices.Delete(m.carried, 0, 1)
	}
	m.mu.Unlock()
	log.Info().Str("master", m.name).Str("from", c.From).Str("to", c.To).Str("reason", c.Reason).
		Float64("unserved_s", c.Unserved).Float64("took_s", c.Took).Uint64("held", c.Held).Uint64("resent", c.Resent).
		Uint64("uncertain", c.Uncertain).Uint64("expired", c.Expired).Uint64("cut", c.Cut).Msg("clients carried over")
}

// history is what the status shows of the past.
func (m *master) history() (trouble string, carried []Carried) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble.now(m.tracker.View()), slices.Clone(m.carried)
}
