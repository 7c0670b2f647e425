package main

import (
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/chaos"
)

func TestChosen(t *testing.T) {
	for _, tt := range []struct {
		faults, endpoint string
		want             int // faults; 0: an error
	}{
		{"all", "holdfast", len(chaos.Faults) - 1},
		{"all", "haproxy", len(chaos.Faults) - 2},
		{"f1", "holdfast", 1},
		{"f5n,f2,f2", "holdfast", 3},
		{"", "holdfast", 0},
		{"f1,nope", "holdfast", 0},
	} {
		got, err := options{faults: tt.faults, endpoint: tt.endpoint}.chosen()
		if len(got) != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("%q: %d faults, %v", tt.faults, len(got), err)
		}
	}
}

func TestSettings(t *testing.T) {
	o := options{endpoint: "holdfast", mode: "shared,dedicated", release: "confirmed,promoted"}
	all, err := o.settings()
	want := chaos.Setting{Endpoint: "holdfast", Mode: "dedicated", Release: "confirmed"}
	if err != nil || len(all) != 4 || all[2] != want {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, o := range []options{
		{faults: "nope", endpoint: "direct", release: "confirmed"},
		{faults: "f1", endpoint: "nope", release: "confirmed"},
		{faults: "f1", endpoint: "holdfast", release: "nope"},
		{faults: "f1", endpoint: "holdfast", release: "confirmed", mode: "nope"},
	} {
		if code := o.main(t.Context()); code != 2 {
			t.Errorf("%+v: exit code %d, want 2", o, code)
		}
	}
}

// TestResults: what was kept of the runs, here of none, makes the same table later;
// one without a verdict is no success.
func TestResults(t *testing.T) {
	o := options{results: filepath.Join(t.TempDir(), "results")}
	setting := chaos.Setting{Endpoint: "holdfast", Release: "promoted"}
	good := chaos.Record{Setting: setting, Fault: "f1", Took: 20, Verdict: &chaos.Verdict{Fault: "f1", Acked: 7, KeptGap: time.Second}}
	for _, r := range []chaos.Record{good, good} {
		if err := o.keep(r); err != nil {
			t.Fatal(err)
		}
	}
	shown := options{show: o.results}
	records, err := shown.read()
	if err != nil || len(records) != 2 || records[1].Setting != setting || records[1].Verdict.KeptGap != time.Second {
		t.Fatalf("%+v, %v", records, err)
	}
	if code := shown.main(t.Context()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := o.keep(chaos.Record{Setting: setting, Fault: "f2", Failure: "no cluster"}); err != nil {
		t.Fatal(err)
	}
	if code := shown.main(t.Context()); code != 1 {
		t.Errorf("exit code %d, although a run has no verdict", code)
	}
}
