//go:build linux

package lan

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Keepalived is one VRRP instance of keepalived.
type Keepalived struct {
	RouterID  int
	Priority  int
	Advert    time.Duration
	Version   int
	Password  string // PASS; empty: none
	Source    netip.Addr
	Peers     []netip.Addr // none: multicast
	Addresses []netip.Addr
	NoPreempt bool
	More      []string // lines for the instance
}

// Keepalived runs Debian's keepalived on the host until the test's end.
func (h *Host) Keepalived(tb testing.TB, k Keepalived) *Process {
	tb.Helper()
	Need(tb, "keepalived")
	dir := tb.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	must(tb, os.WriteFile(file("keepalived.conf"), []byte(k.configuration(h.Name)), 0o600))
	cmd := exec.Command("keepalived", "--dont-fork", "--log-console", "--log-detail", "--no-syslog", "--vrrp",
		"--use-file", file("keepalived.conf"), "--pid", file("parent"), "--vrrp_pid", file("vrrp"))
	p := h.Start(tb, cmd)
	p.Await(tb, "Entering BACKUP STATE")
	return p
}

// Reload gives a keepalived on the host another configuration while it runs.
func (h *Host) Reload(tb testing.TB, p *Process, k Keepalived) {
	tb.Helper()
	file := p.cmd.Args[slices.Index(p.cmd.Args, "--use-file")+1]
	must(tb, os.WriteFile(file, []byte(k.configuration(h.Name)), 0o600))
	p.Signal(syscall.SIGHUP)
}

func (k Keepalived) configuration(host string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("global_defs {\n router_id %s\n}\nvrrp_instance vip {", host)
	line(" state BACKUP\n interface %s\n virtual_router_id %d\n priority %d", Interface, k.RouterID, k.Priority)
	line(" version %d\n advert_int %g", k.Version, k.Advert.Seconds())
	if k.Password != "" {
		line(" authentication {\n  auth_type PASS\n  auth_pass %s\n }", k.Password)
	}
	if k.Source.IsValid() {
		line(" unicast_src_ip %v", k.Source)
	}
	if len(k.Peers) > 0 {
		line(" unicast_peer {")
		for _, p := range k.Peers {
			line("  %v", p)
		}
		line(" }")
	}
	if k.NoPreempt {
		line(" nopreempt")
	}
	for _, more := range k.More {
		line(" %s", more)
	}
	line(" virtual_ipaddress {")
	for _, a := range k.Addresses {
		line("  %s/%d", a, a.BitLen())
	}
	line(" }\n}")
	return b.String()
}
