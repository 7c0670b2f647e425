package proxy

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// patience bounds everything that a test waits for. It is no measure: what is
// waited for normally happens at once.
const patience = 20 * time.Second

// mode is the mode of the listeners of all tests that do not choose one. The
// suite runs them once more with HOLDFAST_TEST_MODE=dedicated.
var mode = config.Mode(cmp.Or(os.Getenv("HOLDFAST_TEST_MODE"), "shared"))

const masterName = "mymaster"

// world is a proxy that one scripted Sentinel tells who is master, or the real
// ones of a cluster. The nodes are the test's own, real or scripted.
type world struct {
	t        testing.TB
	ctx      context.Context
	sentinel *redistest.ScriptedSentinel // nil in front of a real cluster
	tracker  *sentinel.Tracker
	p        *Proxy
	addr     string // of the first listener
	epoch    uint64
	stop     func() // begins the drain; Run has returned when it has
	clients  []*client
	nodes    []*redistest.ScriptedNode // cut at the end, because they may hang
}

// newWorld starts it in front of master and waits until that is served. At the
// test's end the books of the proxy must balance and nothing of it may be left.
func newWorld(t testing.TB, master string, changes ...func(*config.Config)) *world {
	t.Helper()
	scripted := redistest.NewScriptedSentinel(t)
	scripted.Change(func(st *redistest.SentinelState) {
		st.Masters[masterName] = &redistest.MasterState{Addr: master, Epoch: 1, Quorum: 1, Fields: map[string]string{}}
	})
	w := watch(t, []string{scripted.Addr()}, changes...)
	w.sentinel, w.epoch = scripted, 1
	w.serving(master)
	return w
}

// watch starts a proxy that follows these Sentinels.
func watch(t testing.TB, sentinels []string, changes ...func(*config.Config)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	cfg := config.Default()
	cfg.Sentinel.Addresses = sentinels
	cfg.Sentinel.PollInterval = config.Duration(100 * time.Millisecond)
	cfg.Limits.Loops = 1
	cfg.Drain.Timeout = config.Duration(2 * time.Second)
	lc := config.DefaultListener()
	lc.Address, lc.Master, lc.Mode = "127.0.0.1:0", masterName, mode
	if secured {
		lc.TLS = serverTLS()
		cfg.Redis.TLS, cfg.Sentinel.TLS = towards(t), towards(t)
	}
	cfg.Listeners = []config.Listener{lc}
	for _, change := range changes {
		change(&cfg)
	}
	w.run(&cfg)
	return w
}

// run starts the Sentinel group and the proxy, and has both ended and checked at
// the test's end.
func (w *world) run(cfg *config.Config) {
	t := w.t
	t.Helper()
	before, descriptors := goleak.IgnoreCurrent(), openDescriptors(t)
	log := zerolog.Nop()
	if _, fuzz := t.(*testing.F); testing.Verbose() && !fuzz {
		log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.DebugLevel)
	}
	group := sentinel.New(cfg.Sentinel, cfg.Failover, cfg.Masters(), cfg.Redis.TLS, log)
	w.tracker = group.Tracker(masterName)
	p, err := New(cfg, group, log)
	if err != nil {
		t.Fatal(err)
	}
	w.p = p
	watching, endWatching := context.WithCancel(context.Background())
	serving, endServing := context.WithCancel(context.Background())
	var watch, serve sync.WaitGroup
	watch.Go(func() { group.Run(watching) })
	serve.Go(func() { p.Run(serving) })
	w.stop = func() {
		endServing()
		serve.Wait()
	}
	t.Cleanup(func() {
		for _, c := range w.clients {
			c.nc.Close()
		}
		w.stop()
		endWatching()
		watch.Wait()
		w.ended()
		for _, n := range w.nodes {
			n.Cut()
		}
		w.nothingLeft(before, descriptors)
	})
	t.Cleanup(w.conserved) // is called first; if it fails for good the above is still done
	eventually(t, "the listeners to be bound", func() bool {
		for i, st := range p.Stats().Listeners {
			switch {
			case !st.Bound && st.Error == "":
				return false
			case st.Bound && cfg.Listeners[i].TLS.On():
				fronts.Store(st.Address, true)
				t.Cleanup(func() { fronts.Delete(st.Address) })
			}
		}
		w.addr = p.Stats().Listeners[0].Address
		return true
	})
}

// eventually looks until it holds; a test that waits for something has no other
// way than an event's own channel or this.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

func openDescriptors(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// nothingLeft fails if the proxy has left a goroutine or a descriptor behind. The
// scripted servers learn from their sockets that it has gone; on a busy machine
// that takes longer than the half second in which goleak gives up.
func (w *world) nothingLeft(before goleak.Option, descriptors map[string]string) {
	t := w.t
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		goroutines := goleak.Find(before)
		var more []string
		for fd, target := range openDescriptors(t) {
			if descriptors[fd] == "" {
				more = append(more, fd+" "+target)
			}
		}
		if goroutines == nil && len(more) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%d descriptors are left: %q; goroutines: %v", len(more), more, goroutines)
			return
		}
	}
}

// believe waits for a View that is as wanted.
func (w *world) believe(what string, is func(*sentinel.View) bool) *sentinel.View {
	w.t.Helper()
	for end := time.After(patience); ; {
		v := w.tracker.View()
		if is(v) {
			return v
		}
		select {
		case <-v.Superseded():
		case <-end:
			w.t.Fatalf("the View did not become %s: it is %+v", what, v)
		}
	}
}

// serving waits until addr is served.
func (w *world) serving(addr string) {
	w.t.Helper()
	w.believe("serving "+addr, func(v *sentinel.View) bool { return v.Serving() && v.Master == addr })
}

// move makes another node the master, as a Sentinel does that follows a
// failover, and waits until holdfast serves it.
func (w *world) move(to string) {
	w.t.Helper()
	w.name(to)
	w.serving(to)
}

// name has the Sentinel name another master under the next epoch.
func (w *world) name(to string) {
	w.epoch++
	w.setStage("")
	w.sentinel.Switch(masterName, to, w.epoch)
}

// fence lets the Sentinel lead a failover that is about to promote somebody.
func (w *world) fence() {
	w.t.Helper()
	w.setStage("select_slave")
	host, port, _ := strings.Cut(w.master(), ":")
	about := "master " + masterName + " " + host + " " + port
	w.sentinel.Publish("+new-epoch", fmt.Sprint(w.epoch+1))
	w.sentinel.Publish("+try-failover", about)
	w.sentinel.Publish("+elected-leader", about)
	w.sentinel.Publish("+failover-state-select-slave", about)
	w.believe("fenced", func(v *sentinel.View) bool { return v.State == sentinel.Fenced })
}

// abort ends that failover without a promotion.
func (w *world) abort() {
	w.t.Helper()
	master := w.master()
	w.setStage("")
	host, port, _ := strings.Cut(master, ":")
	w.sentinel.Publish("-failover-abort-no-good-slave", "master "+masterName+" "+host+" "+port)
	w.serving(master)
}

func (w *world) setStage(stage string) {
	w.sentinel.Change(func(st *redistest.SentinelState) {
		m := st.Masters[masterName]
		delete(m.Fields, "failover-state")
		m.Flags = "master"
		if stage != "" {
			m.Fields["failover-state"] = stage
			m.Flags = "master,failover_in_progress"
		}
	})
}

// master is whom the Sentinel names.
func (w *world) master() (addr string) {
	w.sentinel.Change(func(st *redistest.SentinelState) { addr = st.Masters[masterName].Addr })
	return addr
}

// onLoop runs f on the loop's goroutine and waits for it.
func (w *world) onLoop(l *loop, f func(*loop)) {
	w.t.Helper()
	done := make(chan struct{})
	if !l.post(func(l *loop) { f(l); close(done) }) {
		return
	}
	select {
	case <-done:
	case <-time.After(patience):
		w.t.Fatal("a loop does not read its mail")
	}
}

// counters are those of the only master.
func (w *world) counters() Counters { return w.p.Stats().Masters[0].Counters }
