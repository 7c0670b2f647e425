package chaos

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"holdfast/internal/redistest"
)

// fault returns the fault of this name.
func fault(t *testing.T, name string) Fault {
	t.Helper()
	i := slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no fault is called %s", name)
	}
	return Faults[i]
}

// TestVerdict shows every way to break the promises to the judge, which must see
// it, and nothing else.
func TestVerdict(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster for half a minute")
	}
	c := redistest.New(t, redistest.Options{Replicas: 1, Sentinels: 3})
	for _, tt := range []struct {
		name string
		play trick
		want []string // columns
		may  []string // columns that may follow from it
	}{
		{"honest", honest, nil, nil},
		{"retries", sometimes(pushes, retries), []string{"twice"}, nil},
		{"swaps", swaps, []string{"wrong"}, []string{"stale"}},
		{"pretends", sometimes(sets, pretends), []string{"lag"}, nil},
		{"denies", sometimes(pushes, denies), []string{"expired", "denied"}, nil},
		{"doubts", sometimes(pushes, doubts), []string{"uncertain"}, nil},
		{"tears", sometimes(begins, tears), []string{"broken"}, nil},
		{"cuts", sometimes(pushes, cuts), []string{"cut"}, nil},
		{"hangs", sometimes(pushes, hangs), []string{"hung"}, nil},
		{"remembers", remembers, []string{"stale"}, nil},
		{"delays", delays, []string{"disorder"}, []string{"lag"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := RunOn(t.Context(), c, Config{Fault: fault(t, "f0"), Endpoint: crooked(tt.play),
				Duration: 500 * time.Millisecond, Patience: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, fault(t, "f0"), tt.want, tt.may)
		})
	}
	t.Run("forgets", func(t *testing.T) { testForgets(t, c) })
	t.Run("deaf", func(t *testing.T) { testDeaf(t, c) })
	t.Run("refuses", func(t *testing.T) { testRefuses(t, c) })
}

// check compares the columns that failed with those that must and may fail.
func check(t *testing.T, v *Verdict, f Fault, want, may []string) {
	t.Helper()
	failed := v.Failed(f, "confirmed")
	for _, name := range want {
		if !slices.Contains(failed, name) {
			t.Errorf("%s is zero, and should not be", name)
		}
	}
	for _, name := range failed {
		if !slices.Contains(want, name) && !slices.Contains(may, name) {
			t.Errorf("%s is not zero, and should be", name)
		}
	}
	if t.Failed() {
		t.Log("\n" + Result{Fault: f, Verdicts: []*Verdict{v}}.Remarks())
	}
}

// testForgets looks for every kind of state in an endpoint that keeps connections
// and loses what belongs to them.
func testForgets(t *testing.T, c *redistest.Cluster) {
	v, err := RunOn(t.Context(), c, Config{Fault: fault(t, "f0"), Endpoint: crooked(forgets),
		Duration: 4 * time.Second, Patience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"db", "name", "MULTI", "tracking"} {
		if v.State[kind] == 0 {
			t.Errorf("it did not see that the endpoint forgets: %s", kind)
		}
	}
	if v.Cut != 0 {
		t.Errorf("%d connections were cut, by an endpoint that cuts none", v.Cut)
	}
}

// testRefuses closes the endpoint's listener in mid-run.
func testRefuses(t *testing.T, c *redistest.Cluster) {
	closing := func(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
		inner, err := crooked(honest)(ctx, c, log)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			acceptSome(l, inner.Addr, 2*Troupe)
		}()
		return &Front{Addr: l.Addr().String(), Stop: func() { l.Close(); <-done; inner.Stop() }}, nil
	}
	v, err := RunOn(t.Context(), c, Config{Fault: fault(t, "f0"), Endpoint: closing,
		Duration: 500 * time.Millisecond, Patience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	check(t, v, fault(t, "f0"), []string{"refused"}, []string{"cut"})
}

// acceptSome relays so many connections to addr, and then listens no more.
func acceptSome(l net.Listener, addr string, n int) {
	for range n {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", addr)
		if err != nil {
			client.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
				way[1].Close()
			}()
		}
	}
	l.Close()
}

// TestFailover runs a planned failover against endpoints that are known to lose
// clients, or writes.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("needs two clusters for half a minute")
	}
	for _, tt := range []struct {
		name     string
		endpoint Endpoint
		want     []string
	}{
		{"follows and cuts", Naive, []string{"cut", "lost"}},
		{"stays", crooked(honest), []string{"lost"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fault(t, "f1")
			c := redistest.New(t, f.Options())
			v, err := RunOn(t.Context(), c, Config{Fault: f, Endpoint: tt.endpoint,
				Duration: 2 * time.Second, Patience: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, f, tt.want, []string{"lag", "stale", "missed", "state"})
			if v.KeptGap < 100*time.Millisecond {
				t.Errorf("the gap is %s, although all writes after the promotion were lost for a while", v.KeptGap)
			}
		})
	}
}

// testDeaf lets the endpoint lose subscriptions without a word.
func testDeaf(t *testing.T, c *redistest.Cluster) {
	v, err := RunOn(t.Context(), c, Config{Fault: fault(t, "f0"), Endpoint: crookedAndDeaf(honest, time.Second/2),
		Duration: 500 * time.Millisecond, Patience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	check(t, v, fault(t, "f0"), []string{"missed"}, nil)
}
