package chaos

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/redistest"
)

// TestHoldfast is the short form of `make chaos`: the faults that are over soon,
// once each, and what has to be zero is zero. How long a gap is depends on the
// machine: it is told, and bounded only far above what is usual.
func TestHoldfast(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster for half a minute in each mode")
	}
	binary := build(t)
	for _, mode := range []string{"dedicated", "shared"} {
		for _, tt := range []struct {
			fault, release string
			after, most    time.Duration // for the clients after the fault, and for the kept gap
		}{
			{"f1", "promoted", agedAfter + time.Second, 5 * time.Second},
			{"switchover", "promoted", time.Second, 5 * time.Second},
			{"f2", "confirmed", time.Second, 15 * time.Second},
			{"f6", "confirmed", time.Second / 2, 5 * time.Second},
		} {
			t.Run(mode+"/"+tt.fault, func(t *testing.T) {
				f := fault(t, tt.fault)
				log := logFile(t)
				v, err := RunOn(t.Context(), redistest.New(t, f.Options()), Config{Fault: f,
					Endpoint: Holdfast(binary, tt.release, mode), Duration: tt.after, Log: log})
				if err != nil {
					t.Fatal(err)
				}
				for _, column := range v.Failed(f, tt.release) {
					t.Errorf("%s is not zero, and should be", column)
				}
				if v.Acked == 0 || v.KeptGap > tt.most {
					t.Errorf("%d acknowledged writes, and %v without one", v.Acked, v.KeptGap)
				}
				t.Logf("kept gap %v, of that %v after the promotion", v.KeptGap.Round(time.Millisecond), v.Resumed.Round(time.Millisecond))
				if t.Failed() {
					t.Log("\n" + Result{Fault: f, Verdicts: []*Verdict{v}}.Remarks())
				}
			})
		}
	}
}

// TestStartEnded: nobody waits for a program that has ended.
func TestStartEnded(t *testing.T) {
	var none redistest.Cluster
	var e Endpoint = func(_ context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
		return program(c, "127.0.0.1:1", "", log, "false")
	}
	if _, err := e.Start(t.Context(), &none, io.Discard); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
}

// build makes the binary that is judged.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "holdfast")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "holdfast/cmd/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// logFile takes what is logged, and is shown if the test fails.
func logFile(t *testing.T) *os.File {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log.Close()
		if !t.Failed() {
			return
		}
		text, err := os.ReadFile(log.Name())
		t.Logf("%s%v", text, err)
	})
	return log
}
