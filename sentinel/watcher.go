package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// overdueShare is the share of the timeout after which an answer is overdue. One
// takes a millisecond or two.
const overdueShare = 4

// pollGap is the shortest time between two polls of one Sentinel, however many
// events want one.
const pollGap = 5 * time.Millisecond

// watcher follows one Sentinel for all master names, over two connections: one is
// polled, the other subscribes. It has a goroutine for each, and one that pings
// the second.
type watcher struct {
	addr  string
	given bool // configured, and therefore never forgotten
	group *Group
	log   zerolog.Logger
	kick  chan struct{} // poll now

	asked atomic.Pointer[asked]    // the poller's, replaced after every poll
	heard atomic.Pointer[listened] // the listener's, replaced after every event
}

// asked is what the polls have come to.
type asked struct {
	id        string
	connected bool
	since     time.Time // when connected last changed
	heard     time.Time
	tilt      bool
	err       string
	polls     uint64 // answered
	failures  uint64
	masters   []Report
}

func newWatcher(g *Group, addr string, given bool) *watcher {
	w := &watcher{
		addr: addr, given: given, group: g,
		log:  g.log.With().Str("sentinel", addr).Logger(),
		kick: make(chan struct{}, 1),
	}
	w.asked.Store(new(asked))
	w.heard.Store(new(listened))
	return w
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { w.poll(ctx) })
	both.Go(func() { w.listen(ctx) })
	both.Wait()
}

// pollNow asks for a poll that begins after this call. It does not block.
func (w *watcher) pollNow() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// poll polls until ctx ends, over one connection after the other.
func (w *watcher) poll(ctx context.Context) {
	var pace backoff
	var complaints seldom
	for ctx.Err() == nil {
		err := w.polls(ctx, &pace, &complaints)
		if ctx.Err() != nil {
			return
		}
		w.lost(err, &complaints)
		w.miss(ctx, time.Now())
		pause(ctx, pace.next(), nil)
	}
}

// polls polls over one connection until it breaks.
func (w *watcher) polls(ctx context.Context, pace *backoff, complaints *seldom) error {
	conf := w.group.conf
	timeout := time.Duration(conf.Timeout)
	link, err := connect(ctx, w.group.outside, w.addr, conf.Login, timeout)
	if err != nil {
		return err
	}
	defer link.Close()
	conn := link.Conn() // it tells how the connection ended, where the pool would try another
	defer conn.Close()
	id, err := w.identify(ctx, conn)
	if err != nil {
		return err
	}
	for {
		answer, err := w.ask(ctx, conn, id)
		if err != nil {
			return err
		}
		pace.reset()
		if !w.tell(ctx, answer, complaints) {
			w.pollNow()
		}
		pause(ctx, pollGap, nil)
		if !pause(ctx, time.Duration(conf.PollInterval)-pollGap, w.kick) {
			return nil
		}
	}
}

// identify asks a Sentinel who it is, first on every connection: an address may
// lead to another one each time. Those before 6.2 do not know, and an ACL may
// forbid the question: they are known by their address.
func (w *watcher) identify(ctx context.Context, conn *redis.Conn) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.group.conf.Timeout))
	defer cancel()
	id, err = conn.Do(ctx, "SENTINEL", "MYID").Text()
	switch {
	case err == nil:
		return id, nil
	case answered(err) && (strings.HasPrefix(err.Error(), "ERR ") || strings.HasPrefix(err.Error(), "NOPERM")):
		return w.addr, nil
	}
	return "", err
}

// answer is what one poll brought back.
type answer struct {
	asked     time.Time
	id        string
	info      map[string]string
	questions []*question
}

// question is what is asked about one master.
type question struct {
	name      string
	before    *redis.StringSliceCmd
	master    *redis.MapStringStringCmd
	after     *redis.StringSliceCmd
	replicas  *redis.MapStringStringSliceCmd
	sentinels *redis.MapStringStringSliceCmd
}

// unknown says whether the Sentinel has no master of that name. It answers null to
// the first question and an error to the others.
func (q *question) unknown() bool {
	err := q.master.Err()
	return errors.Is(q.before.Err(), redis.Nil) || err != nil && strings.Contains(err.Error(), "No such master")
}

// refused is the error reply that says that we are not allowed to ask.
func (q *question) refused() error {
	if q.unknown() {
		return nil
	}
	return cmp.Or(q.before.Err(), q.master.Err(), q.after.Err())
}

// ask polls once, in one round trip. The address is asked for twice, around the
// epoch, so that a change between the two cannot put an old address beside a new
// epoch: Sentinel has no MULTI.
func (w *watcher) ask(ctx context.Context, conn *redis.Conn, id string) (*answer, error) {
	a := &answer{asked: time.Now(), id: id, info: make(map[string]string)}
	timeout := time.Duration(w.group.conf.Timeout)
	overdue := time.AfterFunc(timeout/overdueShare, func() { w.miss(ctx, a.asked) })
	defer overdue.Stop()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := conn.Pipeline()
	info := pipe.Info(bounded, "sentinel")
	for _, name := range w.group.names {
		q := &question{
			name:      name,
			before:    redis.NewStringSliceCmd(bounded, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
			master:    redis.NewMapStringStringCmd(bounded, "SENTINEL", "MASTER", name),
			after:     redis.NewStringSliceCmd(bounded, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
			replicas:  redis.NewMapStringStringSliceCmd(bounded, "SENTINEL", "REPLICAS", name),
			sentinels: redis.NewMapStringStringSliceCmd(bounded, "SENTINEL", "SENTINELS", name),
		}
		for _, cmd := range []redis.Cmder{q.before, q.master, q.after, q.replicas, q.sentinels} {
			_ = pipe.Process(bounded, cmd)
		}
		a.questions = append(a.questions, q)
	}
	cmds, err := pipe.Exec(bounded)
	if err != nil && !answered(err) {
		return nil, err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !answered(err) {
			return nil, err // the replies are out of step, or it went away between two
		}
	}
	for _, q := range a.questions {
		if err := q.refused(); err != nil {
			return nil, err
		}
	}
	readInfo(info.Val(), a.info)
	return a, nil
}

// tell passes on what a poll brought back. It returns false if a master was
// just changing, so that another poll is due.
func (w *watcher) tell(ctx context.Context, a *answer, complaints *seldom) bool {
	last := w.asked.Load()
	next := &asked{
		id: a.id, connected: true, since: last.since, heard: time.Now(),
		tilt: a.info["sentinel_tilt"] == "1", polls: last.polls + 1, failures: last.failures,
	}
	whole := true
	var peers []member
	for _, q := range a.questions {
		r, err := w.report(ctx, a, q)
		r.heard, r.tilt = next.heard, next.tilt
		if errors.Is(err, errTorn) {
			whole = false
			continue
		}
		if err != nil {
			next.err = err.Error()
			w.complain(complaints, q.name, err)
		} else {
			complaints.over(q.name)
		}
		peers = append(peers, r.peers...)
		next.masters = append(next.masters, publicReport(q.name, r))
		w.group.trackers[q.name].take(ctx, r)
	}
	if complaints.over("lost"); !last.connected {
		next.since = next.heard
		w.log.Info().Str("id", a.id).Msg("Sentinel connected")
	}
	if next.tilt != last.tilt {
		w.log.Warn().Bool("tilt", next.tilt).Msg("Sentinel TILT: while it distrusts its clock, what it holds for down does not count")
	}
	w.asked.Store(next)
	w.group.sight(ctx, sighting{via: w.addr, id: a.id, peers: peers})
	return whole
}

// errTorn says that the master changed in the middle of the poll.
var errTorn = errors.New("the master changed between two replies")

// report puts together what was said about one master.
func (w *watcher) report(ctx context.Context, a *answer, q *question) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.group.conf.Timeout))
	defer cancel()
	r := report{via: w.addr, id: a.id, asked: a.asked}
	if q.unknown() {
		r.unknown = true
		return r, fmt.Errorf("it has no master named %q", q.name)
	}
	addr := q.before.Val()
	if len(addr) != 2 || strings.Join(addr, " ") != strings.Join(q.after.Val(), " ") {
		return r, errTorn
	}
	var unresolved error
	dialable := func(host, port string) string {
		to, err := w.group.book.resolve(ctx, host, port)
		if err != nil {
			unresolved = err
		}
		return to
	}
	r.readReplicas(q.replicas.Val(), dialable)
	r.readPeers(q.sentinels.Val(), dialable)
	r.readMaster(q.master.Val())
	r.addr, r.announced = dialable(addr[0], addr[1]), net.JoinHostPort(addr[0], addr[1])
	return r, unresolved
}

// miss tells that the answer to a poll that began then is overdue, or will not come.
// The timer of a poll calls it on a goroutine of its own, which ends with it.
func (w *watcher) miss(ctx context.Context, asked time.Time) {
	for _, t := range w.group.trackers {
		t.miss(ctx, w.addr, asked)
	}
}

// lost notes that a poll failed.
func (w *watcher) lost(err error, complaints *seldom) {
	last := *w.asked.Load()
	if last.connected || last.since.IsZero() {
		last.since = time.Now()
	}
	last.connected, last.err = false, explain(err)
	last.failures++
	w.asked.Store(&last)
	w.complain(complaints, "lost", errors.New("not answering: "+last.err))
}

// complain logs what is wrong with the Sentinel, once and then seldom.
func (w *watcher) complain(complaints *seldom, kind string, err error) {
	if skipped, ok := complaints.worth(time.Now(), kind, err.Error()); ok {
		w.log.Warn().Int("not_logged", skipped).Msg("Sentinel: " + err.Error())
	}
}

// explain says what is wrong in an operator's words.
func explain(err error) string {
	text := Bare(err).Error()
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "invalid password"):
		return "it refuses the login, see sentinel.username and sentinel.password: " + text
	case strings.Contains(text, "NOAUTH"):
		return "it wants a login, see sentinel.password: " + text
	case strings.Contains(text, "NOPERM"):
		return "its ACL does not let us: " + text
	case silent(err):
		return "no answer in time" + hintOf(err)
	}
	return text
}

// backoff is how long to wait before connecting again: doubling from 50 ms to a
// second, each between half and all of it.
type backoff struct{ step time.Duration }

func (b *backoff) next() time.Duration {
	b.step = min(max(2*b.step, 50*time.Millisecond), time.Second)
	return b.step/2 + rand.N(b.step/2)
}

func (b *backoff) reset() { b.step = 0 }

// pause waits for d or a wake-up. It returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}
