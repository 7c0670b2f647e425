package sentinel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Tracker knows who is master of one name. Its goroutine alone runs the machine,
// keeps its time, has at most one probe under way and publishes the Views.
type Tracker struct {
	name string
	log  zerolog.Logger
	ask  func(ctx context.Context, addr string) proof  // takes a bounded time
	tell func(ctx context.Context, d demotion) demoted // takes a bounded time
	poll func()                                        // has all Sentinels polled; does not block

	prober    prober     // for a switchover; ask and tell are its own
	switching sync.Mutex // held by the switchover under way

	machine  *machine
	reports  chan report
	events   chan event
	rosters  chan []member
	misses   chan missed
	proofs   chan proof
	doubts   chan doubting
	orders   chan order
	ended    chan struct{} // closed when run has returned
	inquiry  inquiry
	outcomes chan demoted
	telling  telling
	talk     seldom
	current  atomic.Pointer[View]
	snapshot atomic.Pointer[MasterStats]
}

// doubting is evidence against the View with this number.
type doubting struct {
	seq uint64
	why string
}

// missed is a poll of a Sentinel that is overdue or has failed.
type missed struct {
	via   string
	asked time.Time
}

// inquiry is the probe under way.
type inquiry struct {
	addr   string // "": there is none
	cancel context.CancelFunc
}

// telling is the demotion under way.
type telling struct {
	demotion
	cancel context.CancelFunc // nil: there is none
}

func newTracker(name string, r rules, ask func(context.Context, string) proof, tell func(context.Context, demotion) demoted, poll func(), log zerolog.Logger) *Tracker {
	t := &Tracker{
		name: name, ask: ask, tell: tell, poll: poll,
		log:     log.With().Str("master", name).Logger(),
		machine: newMachine(name, r, time.Now()),
		reports: make(chan report),
		events:  make(chan event),
		rosters: make(chan []member),
		misses:  make(chan missed),
		proofs:  make(chan proof, 1), // the one under way can always be delivered
		doubts:  make(chan doubting, 1),

		outcomes: make(chan demoted, 1), // the same
		orders:   make(chan order),
		ended:    make(chan struct{}),
	}
	first := t.machine.view
	first.superseded = make(chan struct{})
	t.current.Store(&first)
	t.snapshot.Store(t.machine.stats())
	return t
}

// Name is the master's name at the Sentinels.
func (t *Tracker) Name() string { return t.name }

// View is who is master now, as far as is known. It is never nil, and costs an
// atomic load.
func (t *Tracker) View() *View { return t.current.Load() }

// Doubt is evidence from the data path against a View: its master refused a
// connection, closed one, or denied its role. The master is asked for its role at
// once; if it still proves it, nothing changes. Doubt never blocks, and any number
// of calls comes to one probe. It does nothing for a View that is superseded.
func (t *Tracker) Doubt(v *View, why string) {
	if t.View() != v {
		return
	}
	select {
	case t.doubts <- doubting{v.Seq, why}:
	default: // one is waiting to be looked at, which does for both
	}
}

// take, hear, enlist and miss hand something to the tracker's goroutine. They wait for
// it, which takes microseconds, or for ctx.

func (t *Tracker) take(ctx context.Context, r report) {
	select {
	case t.reports <- r:
	case <-ctx.Done():
	}
}

func (t *Tracker) hear(ctx context.Context, e event) {
	select {
	case t.events <- e:
	case <-ctx.Done():
	}
}

func (t *Tracker) enlist(ctx context.Context, members []member) {
	select {
	case t.rosters <- members:
	case <-ctx.Done():
	}
}

func (t *Tracker) miss(ctx context.Context, via string, asked time.Time) {
	select {
	case t.misses <- missed{via, asked}:
	case <-ctx.Done():
	}
}

// run is the tracker's goroutine. It ends with ctx, after the last probe.
func (t *Tracker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer close(t.ended)
	for {
		select {
		case <-ctx.Done():
			t.hangUp()
			return
		case r := <-t.reports:
			t.machine.report(time.Now(), r)
		case e := <-t.events:
			t.machine.hear(time.Now(), e)
		case members := <-t.rosters:
			t.machine.enlist(time.Now(), members)
		case miss := <-t.misses:
			t.machine.miss(time.Now(), miss.via, miss.asked)
		case p := <-t.proofs:
			wanted := t.inquiry.cancel != nil && t.inquiry.addr == p.addr
			t.inquiry.end()
			if wanted {
				t.machine.prove(time.Now(), p)
			}
		case out := <-t.outcomes:
			t.telling.cancel()
			t.telling = telling{}
			t.machine.told(time.Now(), out)
		case o := <-t.orders:
			t.machine.obey(time.Now(), o)
		case d := <-t.doubts:
			t.log.Debug().Uint64("view", d.seq).Msg("evidence against the master: " + d.why)
			t.machine.doubt(time.Now(), d.seq)
		case <-timer.C:
			t.machine.tick(time.Now())
		}
		t.act(ctx, timer)
	}
}

// act does what the machine wants now and sets the timer for what it wants later.
func (t *Tracker) act(ctx context.Context, timer *time.Timer) {
	t.snapshot.Store(t.machine.stats()) // first: whoever waited for a View finds it counted
	t.publish()
	if t.machine.poll() {
		t.poll()
	}
	t.tellNotes()
	t.demote(ctx)
	wake := t.machine.next()
	addr, at := t.machine.probe()
	switch {
	case t.inquiry.addr == "" && addr != "" && !at.After(time.Now()):
		t.inquire(ctx, addr)
	case t.inquiry.addr == "" && addr != "" && (wake.IsZero() || at.Before(wake)):
		wake = at
	case t.inquiry.addr != "" && t.inquiry.addr != addr:
		t.inquiry.cancel() // somebody else is to be asked, as soon as this one has returned
	}
	if wake.IsZero() {
		timer.Stop()
	} else {
		timer.Reset(time.Until(wake))
	}
}

// inquire begins a probe. There is none under way.
func (t *Tracker) inquire(ctx context.Context, addr string) {
	ctx, cancel := context.WithCancel(ctx)
	t.inquiry = inquiry{addr: addr, cancel: cancel}
	go t.inquirer(ctx, addr)
}

// demote begins to tell an old master what it is, or calls that off.
func (t *Tracker) demote(ctx context.Context) {
	d, at := t.machine.demotion()
	switch {
	case t.telling.cancel != nil && t.telling.demotion != d:
		t.telling.cancel()
	case t.telling.cancel == nil && d.old != "" && !at.After(time.Now()):
		ctx, cancel := context.WithCancel(ctx)
		t.telling = telling{demotion: d, cancel: cancel}
		go t.teller(ctx, d)
	}
}

// teller is the goroutine of one demotion. It ends when the old master has
// answered, the time for that is over, or ctx ends.
func (t *Tracker) teller(ctx context.Context, d demotion) { t.outcomes <- t.tell(ctx, d) }

// inquirer is the goroutine of one probe. It ends when the node has answered, the
// time for that is over, or ctx ends.
func (t *Tracker) inquirer(ctx context.Context, addr string) {
	p := t.ask(ctx, addr)
	if ctx.Err() != nil {
		p = proof{} // called off: what it found is of no use
	}
	t.proofs <- p
}

func (q *inquiry) end() {
	if q.cancel != nil {
		q.cancel()
	}
	*q = inquiry{}
}

// hangUp ends the probe and the demotion under way, if there are any, and waits
// for them.
func (t *Tracker) hangUp() {
	if t.telling.cancel != nil {
		t.telling.cancel()
		<-t.outcomes
	}
	if t.inquiry.addr != "" {
		t.inquiry.cancel()
		<-t.proofs
		t.inquiry.end()
	}
}

// publish makes the machine's View the current one, if it is another.
func (t *Tracker) publish() {
	old := t.current.Load()
	if t.machine.view.Seq == old.Seq {
		return
	}
	v := t.machine.view
	v.superseded = make(chan struct{})
	// Not when the machine decided: on a busy machine there can be milliseconds
	// between, and until the next line the old View is the one that is obeyed.
	v.Since = time.Now()
	t.current.Store(&v)
	close(old.superseded) // whoever wakes finds the new one
	t.tellView(old, &v)
}

// tellView logs a change of the View.
func (t *Tracker) tellView(from, to *View) {
	e := t.log.Info()
	if to.State == Fenced || to.State == Doubt {
		e = t.log.Warn()
	}
	e = e.Stringer("from", from.State).Stringer("to", to.State).
		Str("address", to.Master).Uint64("epoch", to.Epoch).Uint64("view", to.Seq).
		Dur("after_ms", to.Since.Sub(from.Since)).Str("reason", to.Reason)
	if from.Master != to.Master && from.Master != "" {
		e = e.Str("before", from.Master).Uint64("epoch_before", from.Epoch)
	}
	if to.Serving() {
		e = e.Bool("proven", to.Proven).Str("run_id", to.RunID)
		if f, ok := t.machine.lastFailover(); ok && f.Served.Equal(t.machine.view.Since) {
			e = e.Dict("failover", phases(f))
		}
	}
	e.Msg("master " + to.State.String())
}

// phases are the milliseconds from the beginning of a failover to its steps.
func phases(f Failover) *zerolog.Event {
	d := zerolog.Dict().Str("from", f.From).Str("to", f.To).Str("why", f.Why)
	for _, step := range f.Steps() {
		d = d.Int64(step.Name+"_ms", step.At.Sub(f.Began).Milliseconds())
	}
	return d
}

// tellNotes logs what else the machine has to say.
func (t *Tracker) tellNotes() {
	for _, n := range t.machine.notes {
		skipped, ok := t.talk.worth(t.machine.now, n.kind, n.text)
		if !ok {
			continue
		}
		e := t.log.Info()
		if n.loud {
			e = t.log.Warn()
		}
		e.Int("not_logged", skipped).Msg(n.text)
	}
	t.machine.notes = nil
}
