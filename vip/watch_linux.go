package vip

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
)

// change is something the kernel reports. It is a hint: by the time it is read
// the interface may have changed again.
type change struct {
	what  what
	index int        // of the interface; not with missed
	addr  netip.Addr // cameTo and goneFrom
	alone bool       // with no prefix around it
}

type what int

const (
	linked   what = iota // an interface has changed
	cameTo               // an address was added or refreshed
	goneFrom             // an address was removed
	missed               // reports were lost
)

// watch passes the kernel's reports to all routers.
type watch struct {
	routers []*router
	log     zerolog.Logger
	talk    seldom
}

// reportBytes is the kernel's room for reports that were not read yet.
const reportBytes = 1 << 20

// pause is how long watch waits before it subscribes again, unless it has not had
// to for as long.
const pause = 100 * time.Millisecond

// run ends with ctx.
func (w *watch) run(ctx context.Context) {
	again := false
	for ctx.Err() == nil {
		begun := time.Now()
		err := w.follow(ctx, again)
		again = true
		if ctx.Err() == nil && w.talk.worth(time.Now(), err.Error()) {
			w.log.Warn().Err(err).Msg("reports of the kernel about interfaces and addresses were lost (logged once a minute)")
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause - time.Since(begun)):
		}
	}
}

// follow subscribes and passes on, until ctx ends or reports are lost. What may
// have happened before is looked at first.
func (w *watch) follow(ctx context.Context, again bool) error {
	done := make(chan struct{})
	defer close(done)
	var last atomic.Pointer[error] // the one that ends a subscription is told before its end
	note := func(err error) { last.Store(&err) }
	addrs := make(chan netlink.AddrUpdate)
	links := make(chan netlink.LinkUpdate)
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: note, ReceiveBufferSize: reportBytes}); err != nil {
		return err
	}
	defer drain(addrs)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: note, ReceiveBufferSize: reportBytes}); err != nil {
		return err
	}
	defer drain(links)
	if again {
		w.log.Info().Msg("the kernel reports again about interfaces and addresses")
	}
	w.tell(ctx, change{what: missed})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u, open := <-addrs:
			if !open {
				return *last.Load()
			}
			c := change{what: goneFrom, index: u.LinkIndex, addr: unmapped(u.LinkAddress.IP), alone: alone(u.LinkAddress.Mask)}
			if u.NewAddr {
				c.what = cameTo
			}
			w.tell(ctx, c)
		case u, open := <-links:
			if !open {
				return *last.Load()
			}
			w.tell(ctx, change{what: linked, index: int(u.Index)})
		}
	}
}

// drain lets a subscription end that is about to hand something over. It ends
// with the subscription.
func drain[T any](updates <-chan T) {
	go discard(updates)
}

func discard[T any](updates <-chan T) {
	for range updates {
	}
}

// tell waits for each router, which takes microseconds as a rule.
func (w *watch) tell(ctx context.Context, c change) {
	for _, r := range w.routers {
		select {
		case r.changes <- c:
		case <-ctx.Done():
			return
		}
	}
}
