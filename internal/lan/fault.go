//go:build linux

package lan

import (
	"os/exec"
	"testing"
)

// Unplug takes the carrier away from the host, as a switch port that goes down.
func (h *Host) Unplug(tb testing.TB) { tb.Helper(); must(tb, h.fabric.IP("link set "+h.port+" down")) }

// Plug gives the carrier back.
func (h *Host) Plug(tb testing.TB) { tb.Helper(); must(tb, h.fabric.IP("link set "+h.port+" up")) }

// Down takes the host's interface down from inside.
func (h *Host) Down(tb testing.TB) { tb.Helper(); must(tb, h.IP("link set "+Interface+" down")) }

// Up takes it up again. IPv6 addresses have to be given anew.
func (h *Host) Up(tb testing.TB) { tb.Helper(); must(tb, h.IP("link set "+Interface+" up")) }

// Replug takes the interface away and makes a new one of the same name.
func (h *Host) Replug(tb testing.TB) {
	tb.Helper()
	must(tb, h.fabric.IP("link del "+h.port))
	must(tb, h.connect())
}

// Partition makes the switch drop everything from and to the host. The carrier
// stays: nobody is told.
func (h *Host) Partition(tb testing.TB) { tb.Helper(); h.setPort(tb, "state", "disabled") }

// Heal ends Partition.
func (h *Host) Heal(tb testing.TB) { tb.Helper(); h.setPort(tb, "state", "forwarding") }

// Split makes the nodes deaf to each other, while the client hears all of them.
func (l *LAN) Split(tb testing.TB) {
	tb.Helper()
	for _, h := range l.Nodes {
		h.setPort(tb, "isolated", "on")
	}
}

// Join ends Split.
func (l *LAN) Join(tb testing.TB) {
	tb.Helper()
	for _, h := range l.Nodes {
		h.setPort(tb, "isolated", "off")
	}
}

func (h *Host) setPort(tb testing.TB, what, value string) {
	tb.Helper()
	must(tb, h.fabric.run(exec.Command("bridge", "link", "set", "dev", h.port, what, value)))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
