//go:build linux

package lan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	probeEvery   = 10 * time.Millisecond
	probeTimeout = 500 * time.Millisecond // for connecting and the answer
)

// Probe is a client that asks a server at an address every 10 ms, each time on a
// connection of its own.
type Probe struct {
	to netip.AddrPort

	mu      sync.Mutex
	answers []answer
	changed chan struct{} // closed at the next answer
}

// answer is a good one.
type answer struct {
	asked, at time.Time
	from      string
}

// Probe starts to ask from the client, until the test's end.
func (l *LAN) Probe(tb testing.TB, addr netip.Addr) *Probe {
	tb.Helper()
	p := &Probe{to: netip.AddrPortFrom(addr, Port), changed: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go p.run(ctx, l.Client, done)
	tb.Cleanup(func() {
		stop()
		<-done
		if tb.Failed() {
			tb.Logf("client of %v:%s", addr, p.story())
		}
	})
	return p
}

// run asks until ctx ends. Its thread lives in the client and ends with it, for it
// is not the place for other goroutines.
func (p *Probe) run(ctx context.Context, client *Host, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			asked := time.Now()
			var conn *os.File
			err := client.Inside(func() (err error) {
				conn, err = dial(p.to)
				return err
			})
			if err == nil {
				asking.Go(func() { p.ask(conn, asked) })
			}
		}
	}
}

// dial begins to connect and does not wait for it: a connect that waits would have
// to do that on a thread inside the client.
func dial(to netip.AddrPort) (*os.File, error) {
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// Thousands of connections are not to fill the table of TIME_WAIT sockets.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), to.String()), nil
}

// ask ends with the answer or its time.
func (p *Probe) ask(conn *os.File, asked time.Time) {
	defer conn.Close()
	from, err := converse(conn)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, answer{asked: asked, at: time.Now(), from: from})
	close(p.changed)
	p.changed = make(chan struct{})
}

// converse asks one question on a connection that is being made.
func converse(conn *os.File) (from string, err error) {
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return "", err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return "", err
	}
	// Called first at once, and then when there is news.
	err = raw.Write(func(fd uintptr) bool {
		_, err := unix.Getpeername(int(fd))
		failed, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		return err == nil || failed != 0
	})
	if err != nil {
		return "", err
	}
	if _, err := conn.WriteString("PING\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// Await waits, for 30 s at most, for an answer of this node to a question that was
// asked later than the call.
func (p *Probe) Await(tb testing.TB, node string) {
	tb.Helper()
	since := time.Now()
	deadline := time.After(30 * time.Second)
	for {
		p.mu.Lock()
		changed := p.changed
		ok := slices.ContainsFunc(p.answers, func(a answer) bool { return a.from == node && a.asked.After(since) })
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			tb.Fatalf("the client had no answer of %s for 30 s", node)
		}
	}
}

// Outage is the longest time without a good answer since then.
func (p *Probe) Outage(since time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := since
	for _, a := range p.answers {
		if a.at.After(last) {
			longest, last = max(longest, a.at.Sub(last)), a.at
		}
	}
	return max(longest, time.Since(last))
}

// story is who answered from when to when, for the log of a failed test.
func (p *Probe) story() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for i, a := range p.answers {
		if i == 0 || a.from != p.answers[i-1].from || a.at.Sub(p.answers[i-1].at) > 10*probeEvery {
			if i > 0 {
				fmt.Fprintf(&b, " to %s", p.answers[i-1].at.Format("15:04:05.000"))
			}
			fmt.Fprintf(&b, "\n  %s answered from %s", a.from, a.at.Format("15:04:05.000"))
		}
	}
	if n := len(p.answers); n > 0 {
		fmt.Fprintf(&b, " to %s", p.answers[n-1].at.Format("15:04:05.000"))
	}
	return b.String()
}

// Fresh asks n times as a client that does not know yet where the address is, and
// returns how often each node answered; "" is nobody.
func (l *LAN) Fresh(tb testing.TB, addr netip.Addr, n int) map[string]int {
	tb.Helper()
	answered := make(map[string]int)
	for range n {
		// If there is no entry to remove, that is as good.
		_ = l.Client.run(exec.Command("ip", "neigh", "flush", "to", addr.String(), "dev", Interface))
		var conn *os.File
		err := l.Client.Inside(func() (err error) {
			conn, err = dial(netip.AddrPortFrom(addr, Port))
			return err
		})
		from := ""
		if err == nil {
			from, _ = converse(conn)
			conn.Close()
		}
		answered[from]++
	}
	return answered
}

// Held is a client that connects once, says nothing more after the first answer,
// and waits.
type Held struct {
	ended chan struct{}
	at    time.Time // valid once ended is closed
}

// Hold connects from the client.
func (l *LAN) Hold(tb testing.TB, addr netip.Addr) *Held {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := l.Client.Dial(ctx, "tcp", netip.AddrPortFrom(addr, Port).String())
	must(tb, err)
	_, err = conn.Write([]byte("PING\n"))
	must(tb, err)
	reader := bufio.NewReader(conn)
	_, err = reader.ReadString('\n')
	must(tb, err)
	held := &Held{ended: make(chan struct{})}
	go held.wait(reader)
	tb.Cleanup(func() { conn.Close(); <-held.ended })
	return held
}

// wait ends with the connection.
func (h *Held) wait(reader *bufio.Reader) {
	defer close(h.ended)
	_, _ = reader.ReadString('\n')
	h.at = time.Now()
}

// Ended waits, for 10 s at most, until the server has ended the connection.
func (h *Held) Ended(tb testing.TB) time.Time {
	tb.Helper()
	select {
	case <-h.ended:
	case <-time.After(10 * time.Second):
		tb.Fatal("the held connection was not ended within 10 s")
	}
	return h.at
}
