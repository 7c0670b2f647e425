//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// masterName is what our Sentinel calls our Redis.
const masterName = "bench"

// endpoint is one way to the Redis of a rig.
type endpoint struct {
	name    string
	program string   // found in PATH; empty: Redis itself
	version []string // arguments that make it tell its version
	off     bool     // only when named
	// setup writes what a proxy that listens on port needs into dir and gives its arguments.
	setup func(r *rig, dir string, port int) ([]string, error)
}

// endpointTable holds every endpoint that can be compared, in the order of the
// tables; binary is the path of holdfast.
func endpointTable(binary string) []endpoint {
	return []endpoint{
		{name: "direct"},
		{name: "haproxy", program: "haproxy", version: []string{"-v"}, setup: haproxy(1)},
		{name: "haproxy-2t", program: "haproxy", version: []string{"-v"}, setup: haproxy(2), off: true},
		{name: "twemproxy", program: "nutcracker", version: []string{"-V"}, setup: twemproxy},
		{name: "holdfast-dedicated", program: binary, version: []string{"version"}, setup: holdfast("dedicated")},
		{name: "holdfast-shared", program: binary, version: []string{"version"}, setup: holdfast("shared"), off: true},
	}
}

// chooseEndpoints picks those that a comma list names. An empty list picks all
// that are not off, and leaves out, with a word to the user, those whose
// program is not there.
func chooseEndpoints(all []endpoint, list string) (chosen []endpoint, missing []string, err error) {
	named := strings.Split(list, ",")
	for _, name := range named {
		if list != "" && !slices.ContainsFunc(all, func(e endpoint) bool { return e.name == name }) {
			return nil, nil, fmt.Errorf("no endpoint %q; there are %s", name, endpointNames(all))
		}
	}
	for _, e := range all {
		if list == "" && e.off || list != "" && !slices.Contains(named, e.name) {
			continue
		}
		if e.program != "" {
			if _, err := exec.LookPath(e.program); err != nil {
				if list != "" {
					return nil, nil, fmt.Errorf("%s: %w", e.name, err)
				}
				missing = append(missing, fmt.Sprintf("%s is left out: %v", e.name, err))
				continue
			}
		}
		chosen = append(chosen, e)
	}
	return chosen, missing, nil
}

func endpointNames(all []endpoint) string {
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.name
	}
	return strings.Join(names, ", ")
}

// haproxy passes bytes on; timeouts are long, so that idle connections stay.
func haproxy(threads int) func(*rig, string, int) ([]string, error) {
	return func(r *rig, dir string, port int) ([]string, error) {
		path, err := writeFile(dir, "haproxy.cfg", `global
  nbthread %d
  maxconn 20000
  no strict-limits
defaults
  mode tcp
  maxconn 20000
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend redis
  bind 127.0.0.1:%d backlog 4096
  default_backend redis
backend redis
  server redis 127.0.0.1:%d
`, threads, port, r.redisPort)
		return []string{"-db", "-f", path}, err
	}
}

// twemproxy sends all clients' commands over one connection, its default.
func twemproxy(r *rig, dir string, port int) ([]string, error) {
	statsPort, err := freePort()
	if err != nil {
		return nil, err
	}
	path, err := writeFile(dir, "nutcracker.yml", `bench:
  listen: 127.0.0.1:%d
  redis: true
  hash: fnv1a_64
  distribution: modula
  backlog: 4096
  preconnect: true
  servers:
   - 127.0.0.1:%d:1
`, port, r.redisPort)
	return []string{"-c", path, "-a", "127.0.0.1", "-s", fmt.Sprint(statsPort), "-p", filepath.Join(dir, "nutcracker.pid")}, err
}

// holdfast asks the rig's Sentinel; nothing but the limit of clients differs
// from its defaults.
func holdfast(mode string) func(*rig, string, int) ([]string, error) {
	return func(r *rig, dir string, port int) ([]string, error) {
		healthPort, err := freePort()
		if err != nil {
			return nil, err
		}
		path, err := writeFile(dir, "holdfast.yaml", `sentinel:
  addresses: ["127.0.0.1:%d"]
listeners:
  - {address: "127.0.0.1:%d", master: %s, mode: %s}
limits:
  max_clients: 16000
health:
  address: "127.0.0.1:%d"
`, r.sentinelPort, port, masterName, mode, healthPort)
		return []string{"run", "-c", path}, err
	}
}

func writeFile(dir, name, format string, args ...any) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)
}

// instance is a running endpoint; of direct there is no process but Redis.
type instance struct {
	endpoint
	port int
	proc *process // nil: direct
}

// start runs an endpoint of its own and returns when it answers PING. The
// caller stops it with rig.stop.
func (r *rig) start(ctx context.Context, e endpoint) (*instance, error) {
	if e.program == "" {
		return &instance{endpoint: e, port: r.redisPort}, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, e.name+"-")
	if err != nil {
		return nil, err
	}
	args, err := e.setup(r, dir, port)
	if err != nil {
		return nil, err
	}
	p, err := r.run(dir, e.name, append([]string{e.program}, args...))
	if err != nil {
		return nil, err
	}
	i := &instance{endpoint: e, port: port, proc: p}
	ping, pong := encode("PING"), []byte("+PONG\r\n")
	if err := p.await(ctx, 15*time.Second, func() error { return ask(port, time.Second, ping, pong) }); err != nil {
		r.stop(i)
		return nil, err
	}
	return i, nil
}

// verify asks an endpoint for one value of every size in full, byte for byte,
// because the generator compares large replies only at their ends.
func (i *instance) verify(chosen []class) error {
	for _, c := range chosen {
		for _, key := range []int{0, keysFor(c.size) - 1} {
			request, reply := question(c.command, c.size, key)
			if err := ask(i.port, connTimeout, request, reply); err != nil {
				return fmt.Errorf("%s: %s of %d bytes: %w", i.name, c.command, c.size, err)
			}
		}
	}
	return nil
}
