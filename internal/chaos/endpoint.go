package chaos

import (
	"context"
	"encoding/json"
	"errors"
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

// Endpoint puts something in front of the cluster, on the host c.Endpoint(). The
// log is what its program prints.
type Endpoint func(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error)

// Front is an endpoint that runs.
type Front struct {
	Addr string // for clients
	Stop func() // ends it, and waits until it has ended
	// Fences tells when it stopped writing to its master because another might be
	// promoted, for all failovers that are over; ascending. nil: it never does.
	Fences func(context.Context) ([]time.Time, error)
}

// Direct is no endpoint at all: the address of the first master, whoever is
// master later.
func Direct(ctx context.Context, c *redistest.Cluster, _ io.Writer) (*Front, error) {
	master, err := c.Master(ctx)
	if err != nil {
		return nil, err
	}
	return &Front{Addr: master.Addr, Stop: func() {}}, nil
}

// Holdfast runs a holdfast binary with dedicated upstreams and this failover
// release, "confirmed" or "promoted".
func Holdfast(binary, release string) Endpoint {
	return func(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
		path, err := exec.LookPath(binary)
		if err != nil {
			return nil, err
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		addr, health, err := two(c)
		if err != nil {
			return nil, err
		}
		conf := fmt.Sprintf(holdfastConf, strings.Join(c.SentinelAddrs(), `", "`), addr, c.Name(), release, health)
		front, err := program(c, addr, conf, log, path, "run", "-c")
		if err != nil {
			return nil, err
		}
		front.Fences = func(ctx context.Context) ([]time.Time, error) { return fences(ctx, c.Endpoint(), health) }
		return front, nil
	}
}

const holdfastConf = `sentinel: {addresses: ["%s"]}
listeners:
  - {address: "%s", master: %s, mode: dedicated}
failover: {release: %s}
health: {address: "%s"}
`

// fences reads a holdfast's own account of its failovers.
func fences(ctx context.Context, from *redistest.Host, addr string) (all []time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, getReady)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: from.DialContext, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var st health.Status
	if err := json.NewDecoder(answer.Body).Decode(&st); err != nil {
		return nil, err
	}
	for _, m := range st.Masters {
		for _, f := range m.Failovers {
			for _, s := range f.Steps {
				if s.What == "fenced" {
					all = append(all, f.Began.Add(time.Duration(s.After*float64(time.Second))))
				}
			}
		}
	}
	return all, nil
}

// two returns two free addresses on the endpoint's host.
func two(c *redistest.Cluster) (a, b string, err error) {
	p, err := redistest.FreePort()
	if err != nil {
		return "", "", err
	}
	q, err := redistest.FreePort()
	host := c.Endpoint().Addr()
	return net.JoinHostPort(host, strconv.Itoa(p)), net.JoinHostPort(host, strconv.Itoa(q)), err
}

// HAProxy runs haproxy, which asks every node twice a second whether it is a
// master and cuts the clients of one that is not.
func HAProxy(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, err
	}
	addr, _, err := two(c)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(haproxyConf, addr)
	for _, n := range c.Nodes {
		conf += fmt.Sprintf("  server %s %s check inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions\n", n.Name, n.Addr)
	}
	return program(c, addr, conf, log, path, "-db", "-f")
}

const haproxyConf = `global
  nbthread 1
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout check 1s
frontend clients
  bind %s
  default_backend redis
backend redis
  option tcp-check
  tcp-check connect
  tcp-check send "info replication\r\n"
  tcp-check expect string role:master
`

// program runs a program whose last argument is the file with this configuration.
func program(c *redistest.Cluster, addr, conf string, log io.Writer, path string, args ...string) (*Front, error) {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.Command(path, append(args, file)...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := c.Endpoint().Start(cmd)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Front{Addr: addr, Stop: func() {
		p.Kill()
		_ = os.RemoveAll(dir) // in the system's own directory for such files
	}}, nil
}

// getReady bounds the time until an endpoint answers its first PING.
const getReady = 15 * time.Second

// answers waits until the endpoint answers PING.
func answers(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	ctx, cancel := context.WithTimeout(ctx, getReady)
	defer cancel()
	return retry(ctx, func() error {
		nc, err := dial(ctx)
		if err != nil {
			return err
		}
		c := newConn(nc)
		defer c.close()
		r, err := c.do(time.Second, "PING")
		if err == nil && r.text != "PONG" {
			err = fmt.Errorf("PING answered %s", r)
		}
		return err
	})
}
