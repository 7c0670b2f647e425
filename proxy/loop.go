package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"holdfast/sentinel"
)

const (
	readBuffer  = 256 << 10 // one per loop; fits a second-level cache
	writeBuffer = 128 << 10 // one per loop, for what goes to a shared upstream
	// keepCommand is the largest command that is kept to be sent whole; a
	// larger one is passed on as it arrives, by counting.
	keepCommand = 64 << 10
	// keepReply is the largest part of a reply that is held back until the rest
	// has come, so that a lost upstream leaves no half reply with the client.
	keepReply = 64 << 10
	// beat is how often a loop looks at what waits; only while something does.
	beat = 20 * time.Millisecond
)

// loop owns its clients and upstreams outright: everything reachable from here
// is touched by run's goroutine alone. Others post letters.
type loop struct {
	p     *Proxy
	log   zerolog.Logger
	poll  *poller
	bell  int
	slots []slot // by descriptor
	buf   []byte
	now   time.Time // of this round
	sites []*site   // by master, as this loop sees them

	ready []*session  // to be read on in the next round, without an event
	late  []*upstream // shared ones that may hold more
	dirty []*upstream // shared ones to be looked after at the end of this round
	want  []order     // upstreams to be prepared when there is a place, View serving
	spare spare

	out            []byte // what is gathered for one write
	sealed         []byte // TLS records, received or made; nil before they are needed
	settledSwiftly int    // answered to the session that is being given its replies, not yet counted
	taken          int    // accepted swiftly by the session that is being read, bytes not yet kept

	heldBytes int       // kept for sessions that wait
	unread    int       // kept in the out of all sessions
	warned    time.Time // when a client that spoke HTTP was last logged
	preparing int       // prepare goroutines under way
	sessions  int
	draining  bool
	deadline  time.Time   // of the drain
	timer     *time.Timer // rings the bell for the next beat
	armed     bool
	due       time.Time // of the next beat, while armed

	mu    sync.Mutex // guards what follows, and that the bell is still ours
	mail  []func(*loop)
	ended bool
}

// slot says whose a descriptor is. The generation tells its present owner from
// the one before.
type slot struct {
	gen uint32
	s   *session
	u   *upstream
}

// site is what one loop knows of one master.
type site struct {
	m       *master
	view    *sentinel.View
	ctx     context.Context // ends with the View
	cancel  context.CancelFunc
	gate    time.Time     // no new attempt at this View before
	backoff time.Duration // grows with each failed attempt at it
	trouble string        // why the last attempt failed
	firsts  int           // clients that listen and are being prepared under this View
	others  time.Time     // until then all others wait for them
	count   counts        // what became of this master's clients and commands

	trunks map[key]*trunk // the shared upstreams
	spares pool
	routes routes
}

func newLoop(p *Proxy) (*loop, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	bell, err := newBell()
	if err != nil {
		poll.close()
		return nil, err
	}
	l := &loop{p: p, log: p.log, poll: poll, bell: bell, buf: make([]byte, readBuffer), out: make([]byte, 0, writeBuffer)}
	for _, m := range p.masters {
		ctx, cancel := context.WithCancel(context.Background())
		l.sites = append(l.sites, &site{m: m, view: m.tracker.View(), ctx: ctx, cancel: cancel, trunks: map[key]*trunk{}})
	}
	l.timer = time.AfterFunc(time.Hour, l.wake)
	l.timer.Stop()
	return l, poll.addBell(bell)
}

// post hands the loop something to do. Safe from any goroutine; after the loop
// has ended it does nothing, which is told by the result.
func (l *loop) post(letter func(*loop)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if l.mail = append(l.mail, letter); len(l.mail) == 1 {
		ring(l.bell)
	}
	return true
}

// wake lets the loop look at its beat.
func (l *loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		ring(l.bell)
	}
}

// run moves bytes until it is drained. One round: what is ready, what was
// posted, what was put off, what is due, and what has gathered to be written.
func (l *loop) run() {
	defer l.end()
	for !l.draining || l.sessions > 0 || l.preparing > 0 {
		l.takeIn(l.poll.wait(len(l.ready) == 0 && len(l.late) == 0))
		if len(l.dirty) > 0 {
			l.takeIn(l.poll.wait(false)) // who has sent something meanwhile goes along in the same write
		}
		l.goOn()
		if l.armed && !l.now.Before(l.due) {
			l.tick()
			l.relieve()
		}
		for len(l.dirty) > 0 {
			u := l.dirty[len(l.dirty)-1]
			l.dirty = l.dirty[:len(l.dirty)-1]
			l.tend(u)
		}
	}
}

// takeIn deals with what is ready. What has been answered is taken in first: an
// upstream is not to be taken for a slow one because this loop was late.
func (l *loop) takeIn(events []event) {
	l.now = time.Now()
	for _, upstreams := range []bool{true, false} {
		for i := range events {
			if fd := int(events[i].Fd); (fd != l.bell && l.slots[fd].u != nil) == upstreams {
				l.dispatch(fd, uint32(events[i].Pad), events[i].Events)
				l.relieve()
			}
		}
	}
}

// goOn deals with what was put off in the round before.
func (l *loop) goOn() {
	if len(l.ready) > 0 {
		batch := l.ready
		l.ready = nil
		for _, s := range batch {
			s.listed = false
			l.resume(s)
			l.relieve()
		}
		if l.ready == nil {
			l.ready = batch[:0]
		}
	}
	if len(l.late) > 0 {
		late := l.late
		l.late = nil
		for _, u := range late {
			if u.share != nil && l.slots[u.fd].u == u {
				l.readUpstream(u)
				l.relieve()
			}
		}
	}
}

func (l *loop) dispatch(fd int, gen uint32, ev uint32) {
	if fd == l.bell {
		hush(l.bell)
		l.readMail()
		return
	}
	c := l.slots[fd]
	if c.gen != gen {
		return
	}
	switch {
	case c.s != nil:
		l.clientEvent(c.s, ev)
	case c.u != nil:
		l.upstreamEvent(c.u, ev)
	}
}

func (l *loop) readMail() {
	l.mu.Lock()
	letters := l.mail
	l.mail = nil
	l.mu.Unlock()
	for _, letter := range letters {
		letter(l)
	}
}

func (l *loop) end() {
	l.timer.Stop()
	for _, site := range l.sites {
		site.cancel()
	}
	l.mu.Lock()
	letters := l.mail
	l.mail, l.ended = nil, true
	l.mu.Unlock()
	for _, letter := range letters {
		letter(l) // a late descriptor is still closed by the one that would have adopted it
	}
	for fd := range l.slots {
		if u := l.slots[fd].u; u != nil {
			if u.share != nil {
				l.p.shared.Add(-1)
			}
			l.dropUpstream(u)
		}
	}
	l.poll.close()
	closeFD(l.bell)
}

// adopt takes over a descriptor and watches it.
func (l *loop) adopt(fd int, s *session, u *upstream) (gen uint32, err error) {
	if fd >= len(l.slots) {
		l.slots = append(l.slots, make([]slot, fd+1-len(l.slots))...)
	}
	c := &l.slots[fd]
	c.gen++
	c.s, c.u = s, u
	return c.gen, l.poll.add(fd, c.gen)
}

// drop closes a descriptor; closing takes it out of the epoll instance.
func (l *loop) drop(fd int) {
	c := &l.slots[fd]
	c.gen++
	c.s, c.u = nil, nil
	closeFD(fd)
}

// again asks for the session to be read on in the next round.
func (l *loop) again(s *session) {
	if !s.listed {
		s.listed = true
		l.ready = append(l.ready, s)
	}
}
