//go:build linux

package vip

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"holdfast/config"
	"holdfast/internal/lan"
)

// Notify commands that hang hold up nothing: an owner goes on owning beside one,
// and hands over at once when it stops. The last state is told when the one before
// has had its time.
func TestHangingNotify(t *testing.T) {
	long(t)
	t.Parallel()
	l := lan.New(t, 2)
	w, dir := middle, t.TempDir()
	owners := l.Watch(t, address4)
	high, low := w.vip(l, 200), w.vip(l, 100)
	high.NotifyMaster = config.Command{"sh", "-c", "touch " + filepath.Join(dir, "begun") + "; sleep 60 & wait"}
	high.NotifyStop = config.Command{"sh", "-c", "echo told: $HOLDFAST_VIP_STATE; sleep 60 & wait"}
	n := run(t, l.Nodes[0], orders{}, high)
	owners.Await(t, "n1")
	n.until(t, "it goes on beside a command that hangs", func(st Stats) bool { return exists(dir, "begun") && st.Sent > 3 })
	run(t, l.Nodes[1], orders{}, low)
	stopped := time.Now()
	n.Signal(syscall.SIGTERM)
	owners.Await(t, "n2")
	if none, skew := owners.None(stopped), w.masterDown(100)-3*w.advert; none > skew+w.advert {
		t.Errorf("nobody had the address for %v, and the backup's skew is %v", none, skew)
	}
	n.Await(t, `"state":"MASTER","said":""`)
	n.Await(t, `"said":"told: STOP"`)
}
