package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

var (
	errNamespaces = errors.New("network namespaces cannot be made")
	errNoNetwork  = errors.New("the cluster was started without Options.Namespaces")
)

// network is the hosts of a cluster, each with a link to a router of its own
// namespace. It is routed, not bridged, so that any pair of hosts can be cut
// apart while both still reach all others.
type network struct {
	router *Host
	hosts  []*Host // the nodes', then the endpoint's

	mu  sync.Mutex
	cut []string // the routing rules in force: "from A to B blackhole"
}

// newNetwork makes hosts of these names that reach each other, with 10.77.<i>.2
// as addresses.
func newNetwork(names []string) (*network, error) {
	w := &network{}
	if err := w.build(names); err != nil {
		w.close()
		return nil, fmt.Errorf("%w: %w", errNamespaces, err)
	}
	return w, nil
}

func (w *network) build(names []string) (err error) {
	if w.router, err = newHost("router"); err != nil {
		return err
	}
	if err := w.router.Inside(forward); err != nil {
		return err
	}
	for i, name := range names {
		h, err := newHost(name)
		if err != nil {
			return err
		}
		w.hosts = append(w.hosts, h)
		if err := w.connect(h, i); err != nil {
			return err
		}
	}
	return nil
}

// forward makes the namespace it runs in pass on what is not for itself.
func forward() error {
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// connect links host number i with the router.
func (w *network) connect(h *Host, i int) error {
	subnet := fmt.Sprintf("10.77.%d", i)
	h.addr = subnet + ".2"
	err := w.router.ip(
		fmt.Sprintf("link add port%d type veth peer name eth0 netns /proc/%d/fd/%d", i, os.Getpid(), h.ns.Fd()),
		fmt.Sprintf("addr add %s.1/24 dev port%d", subnet, i),
		fmt.Sprintf("link set port%d up", i))
	if err != nil {
		return err
	}
	return h.ip("link set lo up",
		"link set eth0 up",
		"addr add "+h.addr+"/24 dev eth0",
		"route add default via "+subnet+".1")
}

// ip runs commands of ip(8) inside the host, until one fails.
func (h *Host) ip(commands ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := h.Start(cmd)
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip in %s: %w: %s", h, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// partition drops everything between the hosts of a and those of b: silently,
// in both directions, on the way, as a broken network does. It adds to the cuts
// already made.
func (w *network) partition(a, b []*Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rules []string
	for _, x := range a {
		for _, y := range b {
			rules = append(rules,
				fmt.Sprintf("from %s to %s blackhole", x.addr, y.addr),
				fmt.Sprintf("from %s to %s blackhole", y.addr, x.addr))
		}
	}
	rules = slices.DeleteFunc(rules, func(r string) bool { return slices.Contains(w.cut, r) })
	w.cut = append(w.cut, rules...)
	return w.rules("add", rules)
}

// heal removes all cuts.
func (w *network) heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	cut := w.cut
	w.cut = nil
	return w.rules("del", cut)
}

func (w *network) rules(verb string, rules []string) error {
	if len(rules) == 0 {
		return nil
	}
	commands := make([]string, len(rules))
	for i, r := range rules {
		commands[i] = "rule " + verb + " " + r
	}
	return w.router.ip(commands...)
}

// close lets go of all namespaces.
func (w *network) close() {
	if w == nil {
		return
	}
	for _, h := range w.hosts {
		h.close()
	}
	w.router.close()
}
