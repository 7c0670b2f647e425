package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"holdfast/health"
	"holdfast/internal/redistest"
)

// front is the holdfast that is shown.
type front struct {
	address string // for clients
	health  string
	dir     string
	process *redistest.Process
}

const configuration = `sentinel: {addresses: ["%s"]}
listeners: [{address: "%s", master: %s}]
failover: {release: %s}
health: {address: "%s"}
`

// startFront runs holdfast and waits until it is ready.
func startFront(ctx context.Context, c *redistest.Cluster, binary, release string) (*front, error) {
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return nil, err
	}
	f := &front{dir: dir}
	if err := f.start(ctx, c, binary, release); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *front) start(ctx context.Context, c *redistest.Cluster, binary, release string) (err error) {
	if f.address, err = freeAddress(); err != nil {
		return err
	}
	if f.health, err = freeAddress(); err != nil {
		return err
	}
	conf := fmt.Sprintf(configuration, strings.Join(c.SentinelAddrs(), `", "`), f.address, c.Name(), release, f.health)
	file := filepath.Join(f.dir, "holdfast.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	log, err := os.Create(f.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, "run", "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	if f.process, err = c.Endpoint().Start(cmd); err != nil {
		return err
	}
	return f.awaitReady(ctx)
}

func freeAddress() (string, error) {
	port, err := redistest.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

func (f *front) logFile() string { return filepath.Join(f.dir, "log") }

// awaitReady asks /readyz until it agrees.
func (f *front) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := f.get(ctx, "/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-f.process.Done():
			return fmt.Errorf("holdfast ended at once: %s", f.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("holdfast does not get ready: %w: %s", err, f.lastWords())
		}
	}
}

func (f *front) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.health+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// story is the last failover as holdfast tells it.
func (f *front) story(ctx context.Context) (string, error) {
	body, err := f.get(ctx, "/status")
	if err != nil {
		return "", err
	}
	var st health.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return "", err
	}
	failovers := st.Masters[0].Failovers
	if len(failovers) == 0 {
		return "", nil
	}
	return failovers[len(failovers)-1].Story(), nil
}

// lastWords is the end of holdfast's log.
func (f *front) lastWords() string {
	text, err := os.ReadFile(f.logFile())
	if err != nil {
		return err.Error()
	}
	return "the end of holdfast's log:\n" + string(text[max(0, len(text)-3000):])
}

func (f *front) stop() {
	if f.process != nil {
		f.process.Kill()
	}
	_ = os.RemoveAll(f.dir) // in the system's own directory for such files
}
