package health

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// lines is a log that a test can wait for.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// await returns the next line that says this.
func (l lines) await(t *testing.T, what string) string {
	t.Helper()
	for {
		select {
		case line := <-l:
			if strings.Contains(line, what) {
				return line
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the log never says %q", what)
		}
	}
}

// running runs a server on address until the test's end, and waits for that.
func running(t *testing.T, address string) (*Server, lines) {
	t.Helper()
	s, log := calm().server(), make(lines, 100)
	s.address, s.log = address, zerolog.New(log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s, log
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	_, log := running(t, address)
	if line := log.await(t, "trying again"); !strings.Contains(line, address) || !strings.Contains(line, "in use") {
		t.Errorf("the line does not say what is wrong: %s", line)
	}
	taken.Close()
	log.await(t, "probes, metrics and status are served")
	answer, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
}

// dial connects to the server once it listens.
func dial(t *testing.T, s *Server, log lines) net.Conn {
	t.Helper()
	if s.bound.Load() == nil {
		log.await(t, "probes, metrics and status are served")
	}
	c, err := net.Dial("tcp", *s.bound.Load())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTooManyReaders(t *testing.T) {
	s, log := running(t, "127.0.0.1:0")
	first := dial(t, s, log)
	for range mostConns - 1 {
		dial(t, s, log)
	}
	// The next one is closed without a word; those who came before are not.
	if n, err := dial(t, s, log).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("one reader more than allowed is let in")
	}
	fmt.Fprint(first, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
	if line, err := bufio.NewReader(first).ReadString('\n'); !strings.Contains(line, "200") {
		t.Errorf("an earlier reader gets %q, %v", line, err)
	}
}

func TestEndIsNotHeldUp(t *testing.T) {
	s, log := running(t, "127.0.0.1:0")
	c := dial(t, s, log)
	fmt.Fprint(c, "GET /healthz HT") // and never the rest: the test's end waits for Run
}
