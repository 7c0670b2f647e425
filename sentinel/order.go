package sentinel

import (
	"context"
	"fmt"
	"time"
)

// order is an operator's fence: nothing is written to this master while a
// switchover is prepared. It has an end of its own, should nobody take it away.
type order struct {
	addr string // of the master; a change of master is what it is for
	ends time.Time
}

// obey takes in an order; the zero one takes away the one there is.
func (m *machine) obey(now time.Time, o order) {
	m.at(now)
	m.order = o
	m.decide()
}

// ordered says why an order holds commands, or "".
func (m *machine) ordered() string {
	if m.order.addr == "" || m.order.addr != m.addr || !m.now.Before(m.order.ends) {
		return ""
	}
	return "a switchover was asked for"
}

// expireOrder lets an order end that nobody has taken away.
func (m *machine) expireOrder() {
	if !m.order.ends.IsZero() && !m.now.Before(m.order.ends) {
		m.order = order{}
		m.say(loud, "order", "the switchover has not ended in time: the old master may go on if it proves its role")
	}
}

// fenceOff holds all commands of the View's master for so long, or until unfence.
// It returns the View that does, or an error if v is not the present one or does
// not serve.
func (t *Tracker) fenceOff(ctx context.Context, v *View, length time.Duration) (*View, error) {
	if t.View() != v || !v.Serving() {
		return nil, fmt.Errorf("%s is no longer served: %s", v.Master, t.View().Reason)
	}
	select {
	case t.orders <- order{addr: v.Master, ends: time.Now().Add(length)}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for now := v; ; now = t.View() {
		switch {
		case now.State == Fenced && now.Master == v.Master:
			return now, nil
		case !now.Serving():
			return nil, fmt.Errorf("%s could not be fenced: %s", v.Master, now.Reason)
		}
		select {
		case <-now.Superseded():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unfence takes the order away. Where the tracker has ended there is none.
func (t *Tracker) unfence() {
	select {
	case t.orders <- order{}:
	case <-t.ended:
	}
}
