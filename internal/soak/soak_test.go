package soak

import (
	"bytes"
	"testing"
	"time"

	"holdfast/config"
)

// TestSoak is the short form of make soak: some seconds, with one change of
// master.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, mode := range []config.Mode{config.Shared, config.Dedicated} {
		t.Run(string(mode), func(t *testing.T) {
			var out bytes.Buffer
			rep, err := Run(t.Context(), Config{Duration: 6 * time.Second, Clients: 30, Seed: 7, Fault: time.Second, Mode: mode, Loops: 2, Out: &out})
			if err != nil {
				t.Fatal(err)
			}
			if !rep.OK() {
				t.Errorf("%s", out.String())
			}
			if rep.Failovers == 0 || rep.Commands < 1000 {
				t.Errorf("%d commands and %d failovers prove nothing", rep.Commands, rep.Failovers)
			}
			rep.Print(t.Output())
		})
	}
}
