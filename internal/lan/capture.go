//go:build linux

package lan

import (
	"os/exec"
	"testing"
)

// Capture runs tcpdump on the host's interface until the test's end. What it
// decodes is what the process says.
func (h *Host) Capture(tb testing.TB, filter string) *Process {
	tb.Helper()
	Need(tb, "tcpdump")
	p := h.Start(tb, exec.Command("tcpdump", "-i", Interface, "-n", "-vvv", "-l", "--immediate-mode", filter))
	p.Await(tb, "listening on")
	return p
}
