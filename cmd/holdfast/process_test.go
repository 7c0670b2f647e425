package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/redistest"
)

// program is a holdfast in a process of its own, in front of a real cluster.
type program struct {
	*redistest.Process
	log             *lines
	address, health string
}

// cluster is as small as it can be with a Sentinel.
func cluster(t *testing.T, o redistest.Options) *redistest.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	o.Sentinels = 1
	return redistest.New(t, o)
}

// address is free at this moment.
func address(t *testing.T) string {
	t.Helper()
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// start runs holdfast for c, with more configuration; it does not wait.
func start(t *testing.T, c *redistest.Cluster, more string) *program {
	t.Helper()
	p := &program{log: newLines(), address: address(t), health: address(t)}
	p.run(t, p.command(t, c, more))
	return p
}

func (p *program) command(t *testing.T, c *redistest.Cluster, more string) *exec.Cmd {
	t.Helper()
	file := write(t, fmt.Sprintf(`sentinel: {addresses: ["%s"]}
listeners: [{address: "%s", master: %s}]
health: {address: "%s"}
limits: {max_clients: 100}
`, strings.Join(c.SentinelAddrs(), `", "`), p.address, c.Name(), p.health)+more)
	cmd := exec.Command(os.Args[0], "run", "-c", file)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = p.log
	return cmd
}

func (p *program) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	process, err := new(redistest.Cluster).Endpoint().Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p.Process = process
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("log of holdfast:\n%s", p.log)
		}
	})
}

// signal sends one.
func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns its code.
func (p *program) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("holdfast does not end")
	}
	var ended *exec.ExitError
	switch err := p.Wait(); {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	default:
		t.Fatal(err)
		return -1
	}
}

// probe asks /readyz once.
func (p *program) probe() (code int, body string) {
	answer, err := http.Get("http://" + p.health + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// awaitProbe waits until /readyz answers with this code and these words.
func (p *program) awaitProbe(t *testing.T, code int, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := p.probe()
		if got == code && strings.Contains(body, words) {
			return
		}
		select {
		case <-tick.C:
		case <-p.Done():
			t.Fatalf("holdfast has ended; it was to answer %d %q", code, words)
		case <-ctx.Done():
			t.Fatalf("/readyz answers %d %q, not %d %q", got, body, code, words)
		}
	}
}

// client is a connection through holdfast.
type client struct {
	net.Conn
	in *bufio.Reader
}

func (p *program) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{c, bufio.NewReader(c)}
}

// do sends a command and compares the first line of its reply.
func (c *client) do(t *testing.T, command, want string) {
	t.Helper()
	fmt.Fprint(c, command, "\r\n")
	if line, err := c.in.ReadString('\n'); err != nil || line != want+"\r\n" {
		t.Fatalf("%s: %q, %v; want %q", command, line, err, want)
	}
}

// ended waits for the end of the connection.
func (c *client) ended(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("instead of the end came %q, %v", rest, err)
	}
}
