package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"holdfast/health"
	"holdfast/internal/redistest"
)

// Endpoint puts something in front of the cluster, on the host c.Endpoint(). The
// log is what its program prints.
type Endpoint func(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error)

// Front is an endpoint that runs.
type Front struct {
	Addr  string          // for clients
	Stop  func()          // ends it, and waits until it has ended
	Ended <-chan struct{} // closed when its program has ended; nil: it has none

	// What a holdfast can be asked, and told; nil for others.
	Status     func(context.Context) (*health.Status, error)
	Switchover func(context.Context) error // a planned failover of its own making
}

// getReady bounds the time until an endpoint answers its first PING.
const getReady = 15 * time.Second

// Start runs the endpoint and waits until it answers PING.
func (e Endpoint) Start(ctx context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
	front, err := e(ctx, c, log)
	if err != nil {
		return nil, fmt.Errorf("start the endpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, getReady)
	defer cancel()
	err = retry(ctx, func() error {
		select {
		case <-front.Ended:
			cancel() // there is nothing to wait for
			return errors.New("its program has ended, and its log says why")
		default:
			return ping(ctx, c.Endpoint(), front.Addr)
		}
	})
	if err != nil {
		front.Stop()
		return nil, fmt.Errorf("the endpoint %s: %w", front.Addr, err)
	}
	return front, nil
}

// ping asks for one PONG, from a host.
func ping(ctx context.Context, from *redistest.Host, addr string) error {
	nc, err := from.DialContext(ctx, "tcp", addr)
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
	addr, _, err := two(c)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(haproxyConf, addr)
	for _, n := range c.Nodes {
		conf += fmt.Sprintf("  server %s %s check inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions\n", n.Name, n.Addr)
	}
	return program(c, addr, conf, log, "haproxy", "-db", "-f")
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
func program(c *redistest.Cluster, addr, conf string, log io.Writer, binary string, args ...string) (*Front, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, err
	}
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
	return &Front{Addr: addr, Ended: p.Done(), Stop: func() {
		p.Kill()
		_ = os.RemoveAll(dir) // in the system's own directory for such files
	}}, nil
}
