package sentinel

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
)

const (
	nodeA = "10.0.0.1:6379"
	nodeB = "10.0.0.2:6379"
)

// desk is a Tracker in a synctest bubble: its probes are answered by a function,
// and its reports are written by hand.
type desk struct {
	*Tracker
	probes atomic.Int64
	most   atomic.Int64 // probes under way at once
	polls  atomic.Int64
	answer atomic.Pointer[func(ctx context.Context, addr string) verdict]
}

func newDesk(t *testing.T) *desk {
	d := new(desk)
	d.answers(func(context.Context, string) verdict { return isMaster })
	var now atomic.Int64
	ask := func(ctx context.Context, addr string) proof {
		d.probes.Add(1)
		if n := now.Add(1); n > d.most.Load() {
			d.most.Store(n)
		}
		defer now.Add(-1)
		p := proof{addr: addr, asked: time.Now(), runID: "abc", verdict: (*d.answer.Load())(ctx, addr)}
		p.heard, p.why = time.Now(), p.verdict.String()
		return p
	}
	r := rules{release: config.Confirmed, fenceTimeout: 5 * time.Second, pollInterval: time.Second, timeout: time.Second}
	d.Tracker = newTracker("mymaster", r, ask, nil, func() { d.polls.Add(1) }, zerolog.Nop())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	d.enlist(ctx, []member{{addr: "s1"}, {addr: "s2"}, {addr: "s3"}})
	return d
}

func (d *desk) answers(f func(ctx context.Context, addr string) verdict) { d.answer.Store(&f) }

// says has all three Sentinels report.
func (d *desk) says(addr string, epoch uint64, flags string) {
	for _, via := range []string{"s1", "s2", "s3"} {
		d.take(context.Background(), report{
			via: via, id: via, asked: time.Now(), heard: time.Now(), addr: addr, epoch: epoch, quorum: 2, flags: flags,
		})
	}
}

// hangs answers when it is called off, or after the timeout.
func hangs(ctx context.Context, _ string) verdict {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return isSilent
}

// TestSince: a View counts from its publication, however long before the machine has
// made it.
func TestSince(t *testing.T) {
	d := newTracker("mymaster", rules{}, nil, nil, nil, zerolog.Nop())
	d.machine.view.Seq++
	d.machine.view.Since = time.Now().Add(-time.Hour)
	before := time.Now()
	d.publish()
	if v := d.View(); v.Seq != d.machine.view.Seq || v.Since.Before(before) {
		t.Errorf("View %d since %v, published after %v", v.Seq, v.Since, before)
	}
}

func TestDoubtStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		v := d.View()
		if !v.Serving() || v.Master != nodeA || !v.Proven {
			t.Fatalf("%+v", v)
		}
		<-time.After(500 * time.Millisecond) // the last probe is a while ago
		before := d.probes.Load()
		var storm sync.WaitGroup
		for range 10_000 {
			storm.Go(func() { d.Doubt(v, "connection reset") })
		}
		storm.Wait()
		synctest.Wait()
		// The first is looked at at once; one more may have been waiting behind it.
		if n := d.probes.Load() - before; n != 1 {
			t.Errorf("%d probes for a storm", n)
		}
		<-time.After(2 * probeGap)
		synctest.Wait()
		if n := d.probes.Load() - before; n > 2 {
			t.Errorf("%d probes for a storm", n)
		}
		if d.View() != v {
			t.Errorf("another View although the master proved itself: %+v", d.View())
		}
	})
}

// A storm that does not end is answered at the pace of probeGap.
func TestDoubtPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		v, before := d.View(), d.probes.Load()
		for range 1000 {
			d.Doubt(v, "connection reset")
			<-time.After(time.Millisecond)
		}
		if n := d.probes.Load() - before; n > int64(time.Second/probeGap)+1 {
			t.Errorf("%d probes in a second", n)
		}
	})
}

func TestDoubtConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		v := d.View()
		<-time.After(500 * time.Millisecond)
		d.answers(func(context.Context, string) verdict { return isGone })
		d.Doubt(v, "connection refused")
		began := time.Now()
		<-v.Superseded()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		if now := d.View(); now.State != Doubt || now.Seq != v.Seq+1 || now.Reason != "gone" {
			t.Errorf("%+v", now)
		}
		probes := d.probes.Load()
		d.Doubt(v, "late")
		synctest.Wait()
		if d.probes.Load() != probes {
			t.Error("evidence against a View that is superseded was looked at")
		}
		d.answers(func(context.Context, string) verdict { return isMaster })
		now := d.View()
		<-now.Superseded()
		if v := d.View(); !v.Serving() || v.Master != nodeA {
			t.Errorf("%+v", v)
		}
	})
}

// A slow command does not stop a serving master; a majority of Sentinels that
// hold it for down does.
func TestHungMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		v := d.View()
		d.answers(hangs)
		for range 10 {
			d.says(nodeA, 1, "master")
			<-time.After(time.Second)
		}
		if d.View() != v {
			t.Fatalf("%+v", d.View())
		}
		d.says(nodeA, 1, "master,s_down")
		synctest.Wait()
		if d.View().State != Doubt {
			t.Fatalf("%+v", d.View())
		}
		if d.most.Load() != 1 {
			t.Errorf("%d probes at once", d.most.Load())
		}
	})
}

// When another node is to be asked, the probe under way is called off: a hung old
// master must not delay the new one.
func TestProbeYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		d.answers(func(ctx context.Context, addr string) verdict {
			if addr == nodeA {
				return hangs(ctx, addr)
			}
			return isMaster
		})
		<-time.After(1100 * time.Millisecond) // nodeA is being asked
		began := time.Now()
		d.says(nodeB, 2, "master")
		synctest.Wait()
		if v := d.View(); !v.Serving() || v.Master != nodeB || v.Epoch != 2 || time.Since(began) != 0 {
			t.Errorf("%+v after %v", v, time.Since(began))
		}
		if d.most.Load() != 1 {
			t.Errorf("%d probes at once", d.most.Load())
		}
	})
}

// Whoever loads a View and waits for its end misses nothing.
func TestViewsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		done := make(chan []uint64)
		go func() {
			var seqs []uint64
			for {
				v := d.View()
				seqs = append(seqs, v.Seq)
				if v.Epoch == 50 && v.Serving() {
					done <- seqs
					return
				}
				<-v.Superseded()
			}
		}()
		for epoch := range uint64(50) {
			d.says([]string{nodeA, nodeB}[epoch%2], epoch+1, "master")
			synctest.Wait()
		}
		<-time.After(time.Second)
		var last uint64
		for _, seq := range <-done {
			if seq <= last {
				t.Fatalf("View %d after %d", seq, last)
			}
			last = seq
		}
	})
}

// An event of a failover fences before anything else is waited for, and has the
// Sentinels polled.
func TestEventFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.says(nodeA, 1, "master")
		synctest.Wait()
		polls := d.polls.Load()
		d.answers(hangs)
		<-time.After(1100 * time.Millisecond) // and a probe is under way
		e := parse("+elected-leader", "master mymaster 10.0.0.1 6379", newBook(nil, nil).known)
		e.via, e.id, e.heard = "s2", "s2", time.Now()
		d.hear(t.Context(), e)
		synctest.Wait()
		if v := d.View(); v.State != Fenced || v.Master != nodeA {
			t.Errorf("%+v", v)
		}
		if d.polls.Load() == polls {
			t.Error("nobody was polled")
		}
	})
}

func TestSeldom(t *testing.T) {
	var s seldom
	now := time.Unix(1e9, 0)
	step := func(after time.Duration, text string, wantSkipped int, want bool) {
		t.Helper()
		now = now.Add(after)
		if skipped, ok := s.worth(now, "kind", text); ok != want || skipped != wantSkipped {
			t.Errorf("%s: %d %v", text, skipped, ok)
		}
	}
	step(0, "a", 0, true)
	step(time.Second, "a", 0, false)
	step(time.Second, "b", 0, false)
	step(againOther, "b", 2, true)
	step(againSame-1, "b", 0, false)
	step(1, "b", 1, true)
	if !s.over("kind") || s.over("kind") {
		t.Error("over")
	}
	step(0, "b", 0, true)
}
