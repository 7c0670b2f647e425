package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// leaveTimeout bounds the farewell to the clients: whoever waits for the addresses
// waits no longer than for a lost advert.
const leaveTimeout = 200 * time.Millisecond

// router is one VRRP instance. Its goroutine owns the machine, the lease and the
// socket, carries out what the machine wants, and waits for nothing else: the log
// must not block.
type router struct {
	vip   config.VIP
	log   zerolog.Logger
	leave func([]netip.Addr) // may be nil

	parted chan struct{} // closed while leave does not run

	machine  *machine
	link     *link
	lease    *lease
	notifier *notifier
	talk     seldom

	socket *socket // nil: the interface cannot be used
	filter *filter // of socket
	fault  string  // why the interface cannot be used
	looked time.Time

	fitness atomic.Pointer[Fitness] // the latest
	woken   chan struct{}           // to look at fitness
	changes chan change             // from watch

	sent, received, announced uint64
	rejected, failures        map[string]uint64

	snapshot atomic.Pointer[Stats]
}

// newRouter finds the interface, tries what takes a capability, and removes what
// an earlier life has left on the interface.
func newRouter(v config.VIP, leave func([]netip.Addr), log zerolog.Logger) (*router, error) {
	link, err := newLink(v.Interface, v.Addresses)
	if err != nil {
		return nil, err
	}
	parted := make(chan struct{})
	close(parted)
	r := &router{
		vip: v, leave: leave, parted: parted, link: link,
		log:     log.With().Str("vip", v.Name).Str("interface", v.Interface).Int("router_id", v.RouterID).Logger(),
		machine: newMachine(v, v.Source, time.Now()),
		lease:   newLease(link, time.Duration(v.AdvertInterval)),
		woken:   make(chan struct{}, 1),
		changes: make(chan change, 64),

		rejected: make(map[string]uint64), failures: make(map[string]uint64),
	}
	for _, why := range rejections {
		r.rejected[string(why)] = 0
	}
	for _, tried := range tries {
		r.failures[tried] = 0
	}
	r.notifier = newNotifier(v, r.log)
	if fault := link.look(); link.index == 0 {
		link.close()
		return nil, fmt.Errorf("%s; %s", fault, interfaceNames())
	}
	left, err := link.remove()
	if err := permitted(tryRaw(), err); err != nil {
		link.close()
		return nil, err
	}
	if len(left) > 0 {
		r.log.Warn().Stringer("address", left[0]).Int("addresses", len(left)).Msg("addresses of an earlier life were on the interface: removed")
	}
	r.publish()
	return r, nil
}

// set is what SetFitness does to one router.
func (r *router) set(f Fitness) {
	r.fitness.Store(&f)
	select {
	case r.woken <- struct{}{}:
	default: // woken already
	}
}

// run is the router's goroutine. It ends with ctx, when the addresses are released
// and the notify commands have ended.
func (r *router) run(ctx context.Context) {
	pin()
	go r.notifier.run()
	defer r.notifier.close()
	defer r.link.close()
	defer r.closeSocket()
	timer := time.NewTimer(0)
	defer timer.Stop()
	r.look()
	r.publish()
	for ctx.Err() == nil {
		var in <-chan datagram
		if r.socket != nil {
			in = r.socket.in
		}
		select {
		case <-ctx.Done():
		case <-r.woken:
			r.do(r.machine.fit(time.Now(), *r.fitness.Load()))
		case c := <-r.changes:
			r.change(c)
		case d := <-in:
			r.receive(d)
		case <-timer.C:
		}
		r.tick()
		r.publish()
		timer.Reset(time.Until(r.due()))
	}
	r.do(r.machine.shutdown(time.Now()))
	r.publish()
}

// retry is how soon a fault of the interface that the kernel does not report is
// looked at again.
const retry = time.Second

// tick is called whatever else there was to do: no flood of adverts keeps the time
// from passing.
func (r *router) tick() {
	now := time.Now()
	if next := r.machine.next(); !next.IsZero() && !next.After(now) {
		r.do(r.machine.tick(now))
	}
	if r.fault != "" && now.Sub(r.looked) >= retry {
		r.look()
	}
}

// due is the next moment at which time alone may change something.
func (r *router) due() time.Time {
	due := time.Now().Add(time.Hour)
	if r.fault != "" {
		due = r.looked.Add(retry)
	}
	if next := r.machine.next(); !next.IsZero() && next.Before(due) {
		due = next
	}
	return due
}

// look finds out whether the interface can be used, and opens or closes the socket
// accordingly.
func (r *router) look() {
	r.looked = time.Now()
	before := r.link.index
	fault := r.link.look()
	if r.link.index != before {
		r.catchUp() // another interface of the same name
	}
	var own []netip.Addr
	if fault == "" {
		var err error
		if own, err = r.link.own(familyOf(r.vip.Addresses[0])); err != nil {
			fault = err.Error()
		}
	}
	if fault == "" {
		fault = r.open(own)
	}
	if fault != "" {
		r.closeSocket()
	}
	if fault == "" || fault != r.fault {
		r.do(r.machine.link(time.Now(), fault))
	}
	r.fault = fault
}

// open makes sure that the socket is one for the interface and its addresses as
// they are.
func (r *router) open(own []netip.Addr) (fault string) {
	if r.socket != nil && r.socket.fits(r.vip, r.link.index, own) {
		return ""
	}
	r.closeSocket()
	s, err := openSocket(r.vip, r.link.index, own)
	if err != nil {
		return err.Error()
	}
	r.socket, r.filter, r.machine.source = s, newFilter(r.vip, s.source, s.peers), s.source
	r.log.Info().Stringer("source", s.source).Strs("to", words(s.to)).Msg("adverts are sent and received")
	return ""
}

func (r *router) closeSocket() {
	if r.socket != nil {
		r.socket.close()
		r.socket = nil
	}
}

// catchUp finds out what has become of the addresses while no report came.
func (r *router) catchUp() {
	gone, came, doubled := r.link.resync()
	for _, ip := range gone {
		r.do(r.machine.lost(time.Now(), ip))
	}
	for _, ip := range came {
		r.do(r.machine.appeared(time.Now(), ip))
	}
	for _, ip := range doubled {
		r.do(r.machine.doubled(time.Now(), ip))
	}
}

// change takes a report of the kernel.
func (r *router) change(c change) {
	if c.what == missed {
		r.look()
		r.catchUp()
		return
	}
	if c.index != r.link.index && r.link.index != 0 {
		return
	}
	ours := r.link.ours(c.addr)
	switch {
	case c.what == linked, !ours && r.concerns(c):
		r.look()
	case c.what == goneFrom && ours && c.alone && r.link.gone(c.addr):
		r.do(r.machine.lost(time.Now(), c.addr))
	case c.what == cameTo && ours && c.alone && r.link.came(c.addr):
		r.do(r.machine.appeared(time.Now(), c.addr))
	case c.what == cameTo && ours && !c.alone && r.link.doubled(c.addr):
		r.do(r.machine.doubled(time.Now(), c.addr))
	}
}

// concerns says whether an address of the interface's own that came or went may
// change what adverts are sent from.
func (r *router) concerns(c change) bool {
	if c.addr.Is4() != r.vip.Addresses[0].Is4() {
		return false
	}
	return r.socket == nil || c.what == goneFrom && c.addr == r.socket.source
}

// receive takes an advert.
func (r *router) receive(d datagram) {
	a, no := r.filter.accept(d)
	switch {
	case no == nil:
		r.received++
		r.do(r.machine.hear(time.Now(), d.from, a))
	case no.fault():
		r.received++
		r.rejected[string(no.reason)]++
		if r.talk.worth(time.Now(), string(no.reason)) {
			r.log.Warn().Str("reason", string(no.reason)).Stringer("from", d.from).
				Msg("advert rejected: " + no.text + " (logged once a minute)")
		}
	}
}

// do carries out what the machine wants, and what it wants when that fails.
func (r *router) do(actions []action) {
	for len(actions) > 0 {
		err := r.carryOut(actions)
		actions = nil
		var sleep asleep
		switch {
		case errors.As(err, &sleep):
			actions = r.machine.slept(time.Now(), sleep.gap)
		case err != nil:
			actions = r.machine.failed(time.Now(), err)
		}
	}
}

// carryOut stops where ownership fails. An advert that cannot be sent keeps
// nothing behind it from being done: it may be the removal of the addresses.
func (r *router) carryOut(actions []action) (unsent error) {
	for _, a := range actions {
		switch err := r.act(a); {
		case err != nil && a.kind != send:
			return err
		case err != nil:
			unsent = err
		}
	}
	return unsent
}

// tries are what the system can refuse.
var tries = []string{"take", "refresh", "send", "announce", "leave", "drop"}

// act carries out one action. Only those on which ownership rests can fail.
func (r *router) act(a action) error {
	switch a.kind {
	case take:
		return r.count("take", r.lease.take())
	case refresh:
		return r.count("refresh", r.lease.refresh())
	case send:
		return r.count("send", r.send(a.advert))
	case announce:
		if r.count("announce", r.link.announce()) == nil {
			r.announced += uint64(len(r.vip.Addresses))
		}
	case leave:
		r.farewell()
	case drop:
		_, err := r.lease.drop()
		_ = r.count("drop", err) // the lease ends by itself
	case clean:
		_, err := r.link.clean()
		_ = r.count("drop", err)
	case enter:
		r.enter(a)
	case alarm:
		if r.talk.worth(time.Now(), a.alarm) {
			r.log.Error().Msg(a.why + " (logged once a minute)")
		}
	}
	return nil
}

func (r *router) send(a advert) error {
	if r.socket == nil {
		return errors.New("the interface cannot be used")
	}
	if err := r.socket.send(a); err != nil {
		return err
	}
	r.sent++
	return nil
}

// count counts and logs failures of the system.
func (r *router) count(tried string, err error) error {
	if err != nil {
		r.failures[tried]++
		if r.talk.worth(time.Now(), tried) {
			r.log.Error().Err(err).Msg(tried + " failed (logged once a minute)")
		}
	}
	return err
}

// farewell has the clients on the addresses ended, as long as the addresses are
// still there to say so from. One that hangs is not begun again beside itself.
func (r *router) farewell() {
	if r.leave == nil {
		return
	}
	select {
	case <-r.parted:
		r.parted = make(chan struct{})
		go r.part(r.parted)
	default:
	}
	select {
	case <-r.parted:
	case <-time.After(leaveTimeout):
		_ = r.count("leave", fmt.Errorf("clients are still being ended after %v; not waiting for them", leaveTimeout))
	}
}

// part ends when leave returns.
func (r *router) part(ended chan<- struct{}) {
	defer close(ended)
	r.leave(r.vip.Addresses)
}

// enter tells of a state that was entered.
func (r *router) enter(a action) {
	event := r.log.Info()
	if a.state == Fault {
		event = r.log.Warn()
	}
	event.Str("state", string(a.state)).Int("priority", r.machine.priority()).Strs("addresses", words(r.vip.Addresses)).Msg(a.why)
	state := map[State]string{Master: stateMaster, Backup: stateBackup, Fault: stateFault, Initialize: stateStop}[a.state]
	r.notifier.tell(notice{state: state, why: a.why, priority: r.machine.priority()})
}
