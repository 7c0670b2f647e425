package main

import (
	"testing"

	"holdfast/internal/chaos"
)

func TestChosen(t *testing.T) {
	for _, tt := range []struct {
		faults string
		want   int // faults; 0: an error
	}{
		{"all", len(chaos.Faults) - 1},
		{"f1", 1},
		{"f5n,f2,f2", 3},
		{"", 0},
		{"f1,nope", 0},
	} {
		got, err := options{faults: tt.faults}.chosen()
		if len(got) != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("%q: %d faults, %v", tt.faults, len(got), err)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, o := range []options{
		{faults: "nope", endpoint: "direct", release: "confirmed"},
		{faults: "f1", endpoint: "nope", release: "confirmed"},
		{faults: "f1", endpoint: "direct", release: "nope"},
	} {
		if code := o.main(t.Context()); code != 2 {
			t.Errorf("%+v: exit code %d, want 2", o, code)
		}
	}
}
