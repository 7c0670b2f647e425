//go:build linux

package vip

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"holdfast/config"
	"holdfast/internal/lan"
)

// orders is what a node, which is this test binary in a process of its own, is to
// do. It can then be killed and frozen.
type orders struct {
	VIPs      []config.VIP
	Passwords []string // of VIPs: a config.Secret does not travel
	Name      string
	Unfit     bool // and stays so
	Hang      bool // when clients are to be ended
	Check     bool // only that

	user *syscall.SysProcAttr // nil: root
}

const ordersIn = "HOLDFAST_TEST_NODE"

func TestMain(m *testing.M) {
	Launched()
	if text := os.Getenv(ordersIn); text != "" {
		os.Exit(nodeMain(text))
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // most of the time they all wait
	os.Exit(m.Run())
}

// nodeMain is holdfast reduced to its routers and a server that dies with them.
func nodeMain(text string) int {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return complain(err)
	}
	for i := range o.VIPs {
		o.VIPs[i].Password = config.Secret(o.Passwords[i])
	}
	if o.Check {
		fmt.Fprintf(os.Stderr, "checked: %v\n", Check(o.VIPs))
		return 0
	}
	listener, err := net.Listen("tcp", fmt.Sprint(":", lan.Port))
	if err != nil {
		return complain(err)
	}
	server := lan.Serve(listener, o.Name)
	leave := server.End
	if o.Hang {
		var begun atomic.Int32
		leave = func([]netip.Addr) {
			fmt.Fprintln(os.Stderr, "clients are ended:", begun.Add(1))
			select {}
		}
	}
	zerolog.TimeFieldFormat = "15:04:05.000"
	rs, err := New(o.VIPs, leave, zerolog.New(os.Stderr).With().Timestamp().Logger())
	if err != nil {
		return complain(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if !o.Unfit {
		rs.SetFitness(Fitness{Fit: true})
	}
	go obey(rs, os.Stdin)
	rs.Run(ctx)
	server.Close()
	stop()
	if !o.Hang {
		if err := goleak.Find(goleak.IgnoreAnyFunction("holdfast/vip.obey")); err != nil {
			return complain(err)
		}
	}
	return 0
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "node:", err)
	return 1
}

// obey reads what the test says, until the process ends.
func obey(rs *Routers, in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "fit":
			rs.SetFitness(Fitness{Fit: true, LocalMaster: rest == "master"})
		case "unfit":
			rs.SetFitness(Fitness{Why: rest})
		case "stats":
			text, err := json.Marshal(rs.Stats())
			fmt.Printf("stats %s %s %v\n", rest, text, err)
		}
	}
}

// member is such a process, as the test sees it.
type member struct {
	*lan.Process
	tell  io.Writer
	asked int
}

// run starts a node on a host.
func run(tb testing.TB, h *lan.Host, o orders, vips ...config.VIP) *member {
	tb.Helper()
	n := launch(tb, h, o, vips...)
	n.Await(tb, "adverts are sent")
	return n
}

// launch starts a node that may fail.
func launch(tb testing.TB, h *lan.Host, o orders, vips ...config.VIP) *member {
	tb.Helper()
	o.Name, o.VIPs = h.Name, vips
	for _, v := range vips {
		o.Passwords = append(o.Passwords, string(v.Password))
	}
	text, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0], cmd.SysProcAttr = "node", o.user
	cmd.Env = append(os.Environ(), ordersIn+"="+string(text))
	tell, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	return &member{Process: h.Start(tb, cmd), tell: tell}
}

// say gives an order.
func (n *member) say(tb testing.TB, line string) {
	tb.Helper()
	if _, err := fmt.Fprintln(n.tell, line); err != nil {
		tb.Fatal(err)
	}
}

// stats are those of the node's first instance.
func (n *member) stats(tb testing.TB) Stats {
	tb.Helper()
	n.asked++
	n.say(tb, fmt.Sprintf("stats %d", n.asked))
	line := n.Await(tb, fmt.Sprintf("stats %d [", n.asked))
	var all []Stats
	if err := json.NewDecoder(strings.NewReader(line[strings.Index(line, "["):])).Decode(&all); err != nil {
		tb.Fatal(err)
	}
	return all[0]
}

// until waits, for 20 s at most, for statistics as wanted.
func (n *member) until(tb testing.TB, what string, ok func(Stats) bool) Stats {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		s := n.stats(tb)
		if ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not within 20 s: %s; the statistics are %+v", what, s)
		}
	}
}

// sum is of all that was counted.
func sum[N int | uint64](by map[string]N) (n N) {
	for _, one := range by {
		n += one
	}
	return n
}
