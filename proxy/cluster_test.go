package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/redistest"
	"holdfast/sentinel"
)

// realCluster is a proxy in front of three real nodes and three real Sentinels.
func realCluster(t *testing.T, release config.Release) (w *world, c *redistest.Cluster) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real failover takes some seconds")
	}
	c = redistest.New(t, redistest.Options{Replicas: 2, Sentinels: 3})
	w = watch(t, c.SentinelAddrs(), func(cfg *config.Config) {
		cfg.Failover.Release = release
		cfg.Sentinel.PollInterval = config.Duration(time.Second)
	})
	w.serving(c.Nodes[0].Addr)
	return w, c
}

// writer pushes elements, one at a time, and keeps the account of what it was
// told.
type writer struct {
	c       *client
	key     string
	told    []string // acknowledged elements
	unknown []string // answered UNCERTAIN
	failed  []string // other answers
	stop    chan struct{}
	ended   chan struct{} // after that the others may be read
}

// newWriter begins to write to a list of its own.
func (w *world) newWriter(i int) *writer {
	k := &writer{c: w.dial(), key: fmt.Sprint("writer-", i), stop: make(chan struct{}), ended: make(chan struct{})}
	go k.write()
	return k
}

// write ends when it is told to stop, or with its connection.
func (k *writer) write() {
	defer close(k.ended)
	for n := 0; ; n++ {
		select {
		case <-k.stop:
			return
		default:
		}
		element := fmt.Sprint(n)
		if _, err := k.c.nc.Write(command("RPUSH", k.key, element)); err != nil {
			k.failed = append(k.failed, err.Error())
			return
		}
		switch reply, err := k.c.next(); {
		case err != nil:
			k.failed = append(k.failed, err.Error())
			return
		case reply[0] == ':':
			k.told = append(k.told, element)
		case strings.HasPrefix(reply, "-UNCERTAIN "):
			k.unknown = append(k.unknown, element)
		default:
			k.failed = append(k.failed, reply)
		}
	}
}

// judge compares the account with what the master has, after the writer ended.
func (k *writer) judge(w *world, master *redistest.Node) (lost int) {
	close(k.stop)
	<-k.ended
	var kept []string
	for _, e := range w.do(master, "LRANGE", k.key, "0", "-1").([]any) {
		kept = append(kept, fmt.Sprint(e))
	}
	if len(k.failed) > 0 {
		w.t.Errorf("%s was told %q", k.key, k.failed[:min(3, len(k.failed))])
	}
	seen := map[string]bool{}
	for _, e := range kept {
		if seen[e] {
			w.t.Errorf("%s: %s was applied twice", k.key, e)
		}
		seen[e] = true
		if !slices.Contains(k.told, e) && !slices.Contains(k.unknown, e) {
			w.t.Errorf("%s: %s was applied and answered with neither OK nor UNCERTAIN", k.key, e)
		}
	}
	for _, e := range k.told {
		if !seen[e] {
			lost++
		}
	}
	return lost
}

// TestPlannedFailoverLosesNothing: real Sentinels promote another node while
// clients write; nobody is disconnected, and every acknowledged write is kept.
func TestPlannedFailoverLosesNothing(t *testing.T) {
	for _, release := range []config.Release{config.Confirmed, config.Promoted} {
		t.Run(string(release), func(t *testing.T) {
			w, c := realCluster(t, release)
			old := c.Nodes[0].Addr
			var writers []*writer
			for i := range 4 {
				writers = append(writers, w.newWriter(i))
			}
			blocked, watching := w.dial(), w.dial()
			blocked.send(line("BLPOP queue 0"))
			watching.want(array(bulk("subscribe"), bulk("ch"), integer(1)), "SUBSCRIBE", "ch")
			progress(w, writers, 20)
			if err := c.Failover(w.ctx); err != nil {
				t.Fatal(err)
			}
			w.believe("serving another", func(v *sentinel.View) bool { return v.Serving() && v.Master != old })
			progress(w, writers, 20)
			master, err := c.AwaitMaster(w.ctx, func(n *redistest.Node) bool { return n.Addr != old })
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range writers {
				if lost := k.judge(w, master); lost > 0 || len(k.unknown) > 0 {
					t.Errorf("%s: of %d acknowledged writes %d are lost; %d are uncertain", k.key, len(k.told), lost, len(k.unknown))
				}
			}
			w.dial().want(integer(1), "RPUSH", "queue", "x")
			blocked.expect(array(bulk("queue"), bulk("x")))
			w.dial().want(integer(1), "PUBLISH", "ch", "hello")
			watching.expect(array(bulk("message"), bulk("ch"), bulk("hello")))
			st := w.p.Stats()
			if carried := st.Masters[0].Carried; len(carried) != 1 || carried[0].From != old || carried[0].To != master.Addr || carried[0].Cut != 0 {
				t.Errorf("%+v", carried)
			}
		})
	}
}

// TestKilledMaster: nobody is disconnected, nothing is applied twice, and what
// was under way is answered with the truth.
func TestKilledMaster(t *testing.T) {
	w, c := realCluster(t, config.Confirmed)
	old := c.Nodes[0]
	var writers []*writer
	for i := range 4 {
		writers = append(writers, w.newWriter(i))
	}
	progress(w, writers, 20)
	old.Kill()
	w.believe("serving another", func(v *sentinel.View) bool { return v.Serving() && v.Master != old.Addr })
	progress(w, writers, 20)
	master, err := c.AwaitMaster(w.ctx, func(n *redistest.Node) bool { return n != old })
	if err != nil {
		t.Fatal(err)
	}
	lost, unknown := 0, 0
	for _, k := range writers {
		lost += k.judge(w, master)
		unknown += len(k.unknown)
	}
	if unknown > len(writers) {
		t.Errorf("%d writes are uncertain: more than were under way", unknown)
	}
	t.Logf("%d acknowledged writes were lost to asynchronous replication, %d are uncertain", lost, unknown)
}

// TestFrozenMasterThatComesBackGetsNothing: it wakes up as a master that knows of
// nothing, and goes on saying so.
func TestFrozenMasterThatComesBackGetsNothing(t *testing.T) {
	w, c := realCluster(t, config.Confirmed)
	old := c.Nodes[0]
	k := w.newWriter(0)
	progress(w, []*writer{k}, 20)
	if err := old.Freeze(); err != nil {
		t.Fatal(err)
	}
	w.believe("serving another", func(v *sentinel.View) bool { return v.Serving() && v.Master != old.Addr })
	if err := old.Thaw(); err != nil {
		t.Fatal(err)
	}
	progress(w, []*writer{k}, 200)
	master, err := c.AwaitMaster(w.ctx, func(n *redistest.Node) bool { return n != old })
	if err != nil {
		t.Fatal(err)
	}
	k.judge(w, master)
	if len(k.unknown) > 1 {
		t.Errorf("%d writes are uncertain: more than were under way", len(k.unknown))
	}
	if info, err := old.Info(w.ctx, "clients"); err != nil || info["blocked_clients"] != "0" {
		t.Errorf("the old master: %v, %v", info, err)
	}
}

// progress waits until the proxy has answered so many more commands of each.
func progress(w *world, writers []*writer, each int) {
	w.t.Helper()
	from := w.counters().Answered
	eventually(w.t, "writes to go on", func() bool {
		for _, k := range writers {
			select {
			case <-k.ended:
				w.t.Fatalf("%s has ended: %q", k.key, k.failed)
			default:
			}
		}
		return w.counters().Answered >= from+uint64(each*len(writers))
	})
}
