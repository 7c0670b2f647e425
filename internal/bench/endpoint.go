//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// masterName is what our Sentinel calls our Redis.
const masterName = "bench"

// endpoint is one way to the Redis of a rig.
type endpoint struct {
	name    string
	program string   // found in PATH; empty: Redis itself
	version []string // arguments that make it tell its version; none: it is ours
	// setup writes what a proxy needs into dir and gives its arguments. It
	// listens on i.port, for TLS on i.tlsPort, and shows itself on i.side.
	setup    func(r *rig, i *instance, dir string) ([]string, error)
	lacks    []func(c class) string // each says why a class is not for it, or nothing
	constant bool                   // knows no data: see class.constant
	holdfast bool                   // tells its allocations
}

// Endpoints that ratios refer to.
const (
	direct    = "direct"
	shared    = "holdfast-shared"
	dedicated = "holdfast-dedicated"
	haproxy1  = "haproxy-1t"
	twemproxy = "nutcracker"
	floorName = "floor"
)

// endpointTable holds every endpoint that can be compared, in the order of the
// tables; binary is the path of holdfast, self that of this program.
func endpointTable(binary, self string) []endpoint {
	type lacks = []func(class) string
	return []endpoint{
		{name: direct},
		{name: shared, program: binary, version: []string{"version"}, setup: holdfast("shared"), holdfast: true},
		{name: dedicated, program: binary, version: []string{"version"}, setup: holdfast("dedicated"), lacks: lacks{twoDescriptors}, holdfast: true},
		{name: haproxy1, program: "haproxy", version: []string{"-v"}, setup: haproxy(1), lacks: lacks{twoDescriptors}},
		{name: "haproxy-2t", program: "haproxy", version: []string{"-v"}, setup: haproxy(2), lacks: lacks{twoDescriptors}},
		{name: twemproxy, program: "nutcracker", version: []string{"-V"}, setup: nutcracker, lacks: lacks{dataCommandsOnly, noTLS}},
		{name: floorName, program: self, setup: floorArguments, lacks: lacks{smallValuesOnly, noTLS}, constant: true},
	}
}

// twoDescriptors keeps a proxy with a connection to Redis for each client from
// more clients than the limit of descriptors has room for.
func twoDescriptors(c class) string {
	var limit unix.Rlimit
	need := 2*uint64(c.idle+c.conns) + 1000
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < need {
		return fmt.Sprintf("it needs two descriptors for a client, %d in all, and the limit is %d", need, limit.Cur)
	}
	return ""
}

func dataCommandsOnly(c class) string {
	if c.command == mixed {
		return "it has neither transactions nor blocking commands"
	}
	return ""
}

func smallValuesOnly(c class) string {
	if c.command == mixed || c.size != smallValue {
		return "it answers one small constant"
	}
	return ""
}

func noTLS(c class) string {
	if c.tls {
		return "it speaks no TLS"
	}
	return ""
}

// chooseEndpoints picks those that a comma list names. An empty list picks all
// and leaves out, with a word to the user, those whose program is not there.
func chooseEndpoints(all []endpoint, list string) (chosen []endpoint, missing []string, err error) {
	named := strings.Split(list, ",")
	for _, name := range named {
		if list != "" && !slices.ContainsFunc(all, func(e endpoint) bool { return e.name == name }) {
			return nil, nil, fmt.Errorf("no endpoint %q; there are %s", name, endpointNames(all))
		}
	}
	for _, e := range all {
		if list != "" && !slices.Contains(named, e.name) {
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
func haproxy(threads int) func(*rig, *instance, string) ([]string, error) {
	return func(r *rig, i *instance, dir string) ([]string, error) {
		path, err := writeFile(dir, "haproxy.cfg", `global
  nbthread %d
  maxconn 20000
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites %s
defaults
  mode tcp
  maxconn 20000
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend redis
  bind 127.0.0.1:%d backlog 4096
  bind 127.0.0.1:%d backlog 4096 ssl crt %s
  default_backend redis
backend redis
  server redis 127.0.0.1:%d
`, threads, tls.CipherSuiteName(tlsCipher), i.port, i.tlsPort, r.identity.both, r.redisPort)
		return []string{"-db", "-f", path}, err
	}
}

// nutcracker is twemproxy; it sends all clients' commands over one connection,
// its default.
func nutcracker(r *rig, i *instance, dir string) ([]string, error) {
	path, err := writeFile(dir, "nutcracker.yml", `bench:
  listen: 127.0.0.1:%d
  redis: true
  hash: fnv1a_64
  distribution: modula
  backlog: 4096
  preconnect: true
  servers:
   - 127.0.0.1:%d:1
`, i.port, r.redisPort)
	return []string{"-c", path, "-a", "127.0.0.1", "-s", fmt.Sprint(i.side), "-p", filepath.Join(dir, "nutcracker.pid")}, err
}

// holdfast asks the rig's Sentinel; nothing but the limit of clients differs
// from its defaults.
func holdfast(mode string) func(*rig, *instance, string) ([]string, error) {
	return func(r *rig, i *instance, dir string) ([]string, error) {
		path, err := writeFile(dir, "holdfast.yaml", `sentinel:
  addresses: ["127.0.0.1:%d"]
listeners:
  - {address: "127.0.0.1:%d", master: %s, mode: %s}
  - {address: "127.0.0.1:%d", master: %s, mode: %s, tls: {cert_file: "%s", key_file: "%s"}}
limits:
  max_clients: 16000
health:
  address: "127.0.0.1:%d"
`, r.sentinelPort, i.port, masterName, mode,
			i.tlsPort, masterName, mode, r.identity.cert, r.identity.key, i.side)
		return []string{"run", "-c", path}, err
	}
}

func floorArguments(_ *rig, i *instance, _ string) ([]string, error) {
	return []string{"-floor", fmt.Sprint(i.port)}, nil
}

func writeFile(dir, name, format string, args ...any) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)
}
