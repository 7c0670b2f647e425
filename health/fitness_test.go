package health

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
	"holdfast/proxy"
	"holdfast/sentinel"
	"holdfast/vip"
)

// bearing is how long a master may be unserved in these tests.
const bearing = 30 * time.Second

// bench is a judge and what it is shown; all is well at first.
type bench struct {
	*world
	t     *testing.T
	judge judge
	now   time.Time
	own   map[netip.Addr]bool
	stuck *error
}

func newBench(t *testing.T) *bench {
	return &bench{world: calm(), t: t, judge: judge{grace: bearing}, now: noon, own: map[netip.Addr]bool{}}
}

// after lets time pass and checks the verdict: "" is fit, "?" that there is none
// yet, and else a part of the reason.
func (b *bench) after(d time.Duration, want string) vip.Fitness {
	b.t.Helper()
	b.now = b.now.Add(d)
	v, ok := b.judge.verdict(b.now, b.stuck, b.sentinel.Masters, b.proxy.Listeners, b.own)
	switch {
	case !ok:
		if want != "?" {
			b.t.Errorf("no verdict, want %q", want)
		}
	case v.Fit != (want == "") || v.Fit != (v.Why == "") || !strings.Contains(v.Why, want):
		b.t.Errorf("%+v, want %q", v, want)
	}
	return v
}

func (b *bench) state(s sentinel.State, reason string) {
	b.master().View.State, b.master().Reason = s, reason
}

// A failover moves no address, if it ends while clients wait.
func TestFitThroughFailover(t *testing.T) {
	b := newBench(t)
	b.after(0, "")
	b.state(sentinel.Doubt, "connection refused")
	b.after(time.Second, "")
	b.state(sentinel.Fenced, "a leader was elected")
	b.after(bearing-time.Second, "")
	b.state(sentinel.Serving, "")
	b.after(time.Second, "")
	b.state(sentinel.Doubt, "connection refused")
	b.after(0, "")
	b.after(bearing-time.Millisecond, "")
	b.after(time.Millisecond, "master mymaster is not served (doubt): connection refused")
	b.state(sentinel.Verifying, "asked for its role")
	b.after(time.Millisecond, "(verifying): asked for its role")
	b.state(sentinel.Serving, "")
	b.after(time.Millisecond, "")
}

// What makes another node the better one counts at once, in a failover too.
func TestUnfitAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		want   string
	}{
		"few Sentinels": {func(b *bench) { b.master().SightedSentinels = 1 }, "master mymaster: 1 of 3 Sentinels answer and 2 are needed"},
		"smaller side":  {func(b *bench) { b.master().CutOff = "0 of 1 replicas left" }, "master mymaster: 0 of 1 replicas left"},
		"listener": {func(b *bench) { b.proxy.Listeners[0].Bound, b.proxy.Listeners[0].Error = false, "in use" },
			"listener 0.0.0.0:6379 is not bound: in use"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.after(0, "")
			b.state(sentinel.Fenced, "a leader was elected")
			b.after(time.Second, "")
			c.change(b)
			b.after(0, c.want)
			b.world = calm()
			b.state(sentinel.Fenced, "a leader was elected")
			b.after(0, "(fenced)") // who is unfit has no grace left
			b.state(sentinel.Serving, "")
			b.after(0, "")
		})
	}
}

// A node that starts is not said to be unfit before it had the time to be fit.
func TestArrival(t *testing.T) {
	b := newBench(t)
	b.sentinel.Masters[0].View.State = sentinel.Unknown
	b.after(0, "?")
	b.after(arrival-time.Millisecond, "?")
	b.after(time.Millisecond, "(unknown)")
	b = newBench(t)
	b.proxy.Listeners[0].Bound = false
	b.after(0, "?")
	b.proxy.Listeners[0].Bound = true
	b.after(time.Millisecond, "")
	b.proxy.Listeners[0].Bound = false
	b.after(time.Millisecond, "is not bound")
}

// The node of the master keeps its preference until the master is elsewhere.
func TestLocalMaster(t *testing.T) {
	b := newBench(t)
	if v := b.after(0, ""); v.LocalMaster {
		t.Error("the master is on another machine")
	}
	b.own[netip.MustParseAddr("10.0.0.2")] = true
	if v := b.after(time.Second, ""); !v.LocalMaster {
		t.Error("the master is here")
	}
	b.state(sentinel.Doubt, "connection refused")
	b.master().View.Master = ""
	if v := b.after(time.Second, ""); !v.LocalMaster {
		t.Error("nobody else is master yet")
	}
	b.state(sentinel.Serving, "")
	b.master().View.Master = "10.0.0.1:6379"
	if v := b.after(time.Second, ""); v.LocalMaster {
		t.Error("the master is on another machine again")
	}
	other := b.sentinel.Masters[0]
	other.View.Name, other.View.Master = "other", "10.0.0.2:6380"
	b.sentinel.Masters = append(b.sentinel.Masters, other)
	if v := b.after(time.Second, ""); v.LocalMaster {
		t.Error("one of two masters is on another machine")
	}
}

// A loop that does not answer serves nobody, however well all else is.
func TestUnfitWhileALoopIsStuck(t *testing.T) {
	b := newBench(t)
	b.after(0, "")
	stuck := errors.New("loop 1 of 2 does not answer")
	b.stuck = &stuck
	b.after(time.Second, "loop 1 of 2 does not answer")
	b.stuck = nil
	b.after(time.Second, "")
}

// The loops are asked again and again, and what they say counts as long as they say it.
func TestLoopsAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan error)
		f := NewFitness(bearing, nil, nil, func(ctx context.Context) error {
			select {
			case err := <-said:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go f.watch(ctx)
		for _, want := range []error{nil, errors.New("loop 1 of 1 does not answer"), nil} {
			said <- want
			synctest.Wait()
			if got := f.stuck.Load(); (got == nil) != (want == nil) {
				t.Errorf("said %v: stuck is %v", want, got)
			}
		}
		<-time.After(aliveEvery) // it is asked again, and does not answer yet
		synctest.Wait()
		cancel()
		synctest.Wait()
		if f.stuck.Load() != nil {
			t.Error("being called off is taken for a loop that is stuck")
		}
	})
}

// Who never was fit is said to be unfit, once, and why.
func TestFitnessIsTold(t *testing.T) {
	group := sentinel.New(config.Sentinel{}, config.Failover{}, map[string]config.Login{"mymaster": {}}, config.ClientTLS{}, zerolog.New(io.Discard))
	told := make(chan vip.Fitness, 10)
	alive := func(context.Context) error { return nil }
	f := NewFitness(bearing, group, func() proxy.Stats { return proxy.Stats{} }, alive, func(v vip.Fitness) { told <- v })
	f.judge.begun = time.Now().Add(-arrival)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	if v := <-told; v.Fit || v.Why != "master mymaster: 0 of 0 Sentinels answer and 1 are needed" {
		t.Errorf("%+v", v)
	}
	cancel()
	<-ended
	if len(told) > 0 {
		t.Errorf("told again: %+v", <-told)
	}
	if !ownAddresses()[netip.MustParseAddr("127.0.0.1")] {
		t.Error("the loopback address is not among the machine's own")
	}
}
