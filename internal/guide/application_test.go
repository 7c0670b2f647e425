//go:build linux

package guide

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/redcon"
)

// pace is how often the application writes.
const pace = 10 * time.Millisecond

// application is a client such as applications have: it knows one address, writes
// numbers to a list, each once, and connects again when its connection has ended.
// It notes what was acknowledged to it.
type application struct {
	s     *site
	wait  int // replicas that must have a write for it to count, asked for with WAIT
	stop  context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	acked   []acked
	conns   int           // made
	last    string        // trouble
	changed chan struct{} // closed at the next acknowledgement
}

type acked struct {
	number int
	at     time.Time
}

// work has the application begin. It ends with the test, or with lost.
func (s *site) work(wait int) {
	s.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s.app = &application{s: s, wait: wait, stop: stop, ended: make(chan struct{}), changed: make(chan struct{})}
	go s.app.run(ctx)
	s.Cleanup(func() { stop(); <-s.app.ended })
	s.app.goesOn()
}

// run writes until ctx ends.
func (a *application) run(ctx context.Context) {
	defer close(a.ended)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var conn *connection
	for number := 0; ; {
		select {
		case <-ctx.Done():
			conn.close()
			return
		case <-tick.C:
		}
		var err error
		if conn == nil {
			if conn, err = a.connect(ctx); err != nil {
				a.note(err)
				continue
			}
		}
		number++
		if err = a.write(conn, number); err != nil {
			a.note(err)
		}
		if conn.broken {
			conn.close()
			conn = nil
		}
	}
}

// connection is one to the address.
type connection struct {
	net.Conn
	in     *bufio.Reader
	broken bool
}

func (a *application) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	conn, err := a.s.lan.Client.Dial(ctx, "tcp", netip.AddrPortFrom(address, 6379).String())
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, in: bufio.NewReader(conn)}
	if _, err := c.do("AUTH", password); err != nil {
		c.close()
		return nil, err
	}
	a.mu.Lock()
	a.conns++
	a.mu.Unlock()
	return c, nil
}

func (c *connection) close() {
	if c != nil {
		c.Close()
	}
}

// do sends a command whose answer is one line.
func (c *connection) do(command ...string) (line string, err error) {
	out := redcon.AppendArray(nil, len(command))
	for _, word := range command {
		out = redcon.AppendBulkString(out, word)
	}
	if err = c.SetDeadline(time.Now().Add(15 * time.Second)); err == nil {
		_, err = c.Write(out)
	}
	if err == nil {
		line, err = c.in.ReadString('\n')
	}
	if c.broken = err != nil; c.broken {
		return "", err
	}
	if strings.HasPrefix(line, "-") {
		return "", fmt.Errorf("%s: %s", command[0], strings.TrimSpace(line))
	}
	return strings.TrimSpace(line), nil
}

// write writes one number, and notes it if it was acknowledged.
func (a *application) write(c *connection, number int) error {
	if _, err := c.do("RPUSH", "ledger", strconv.Itoa(number)); err != nil {
		return err
	}
	if a.wait > 0 {
		line, err := c.do("WAIT", strconv.Itoa(a.wait), "1000")
		if err != nil {
			return err
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(line, ":")); err != nil || n < a.wait {
			return fmt.Errorf("WAIT answered %s", line)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked = append(a.acked, acked{number, time.Now()})
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

func (a *application) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = err.Error()
}

// goesOn waits until 20 more writes were acknowledged.
func (a *application) goesOn() {
	a.s.Helper()
	late := time.After(patience)
	for more := 0; more < 20; more++ {
		a.mu.Lock()
		changed, last := a.changed, a.last
		a.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			a.s.Fatalf("the application cannot write: %s", last)
		}
	}
}

// connections is how many it has made.
func (a *application) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns
}

// outage is the longest time without an acknowledgement since then.
func (a *application) outage(since time.Time) (longest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := since
	for _, w := range a.acked {
		if w.at.After(last) {
			longest, last = max(longest, w.at.Sub(last)), w.at
		}
	}
	return max(longest, time.Since(last))
}

// nothingLost ends the application, and checks that all that was acknowledged is
// there, in order. Numbers that were not may be there, too.
func (s *site) nothingLost(master *machine) {
	s.Helper()
	s.app.stop()
	<-s.app.ended
	list, err := master.ask(6380, password, "LRANGE", "ledger", 0, -1).StringSlice()
	s.must(err)
	lost, at := 0, 0
	for _, w := range s.app.acked {
		for at < len(list) && list[at] != strconv.Itoa(w.number) {
			at++
		}
		if at == len(list) {
			lost++
			at = 0
		}
	}
	if lost > 0 || len(s.app.acked) == 0 {
		s.Errorf("%d of %d acknowledged writes are lost", lost, len(s.app.acked))
	}
	s.Logf("%d writes acknowledged, %d in the list, %d connections", len(s.app.acked), len(list), s.app.conns)
}
