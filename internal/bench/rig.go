//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// rig is one Redis without persistence, one Sentinel that watches it, and the
// endpoints in front of them. It knows every process that it started.
type rig struct {
	dir                     string // temporary, removed by close
	redis                   *process
	redisPort, sentinelPort int
	redisTLSPort            int // 0: no class wants one
	identity                *identity
	running                 []*process
}

// newRig returns when both answer and Redis holds the values of the classes.
func newRig(ctx context.Context, server string, chosen []class) (*rig, error) {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir}
	if r.identity, err = newIdentity(dir); err == nil {
		err = r.startRedis(ctx, server, chosen)
	}
	if err == nil {
		err = r.startSentinel(ctx, server)
	}
	if err == nil {
		err = r.load(chosen)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// startRedis asks TLS of Redis only where it is wanted: not every build has it.
func (r *rig) startRedis(ctx context.Context, server string, chosen []class) error {
	var err error
	if r.redisPort, err = freePort(); err != nil {
		return err
	}
	argv := []string{server, "--bind", "127.0.0.1", "--port", fmt.Sprint(r.redisPort),
		"--dir", r.dir, "--save", "", "--appendonly", "no", "--tcp-backlog", "4096", "--maxclients", "20000"}
	if slices.ContainsFunc(chosen, func(c class) bool { return c.tls }) {
		if r.redisTLSPort, err = freePort(); err != nil {
			return err
		}
		argv = append(argv, "--tls-port", fmt.Sprint(r.redisTLSPort), "--tls-cert-file", r.identity.cert, "--tls-key-file", r.identity.key,
			"--tls-auth-clients", "no", "--tls-protocols", "TLSv1.3", "--tls-ciphersuites", tls.CipherSuiteName(tlsCipher))
	}
	if r.redis, err = r.run(r.dir, "redis", argv); err != nil {
		return err
	}
	return r.redis.await(ctx, 10*time.Second, func() error {
		return ask(door{port: r.redisPort}, time.Second, encode("PING"), []byte("+PONG\r\n"))
	})
}

// startSentinel runs a Sentinel that is slow to call a saturated Redis down: no
// failover is wanted here.
func (r *rig) startSentinel(ctx context.Context, server string) error {
	var err error
	if r.sentinelPort, err = freePort(); err != nil {
		return err
	}
	path, err := writeFile(r.dir, "sentinel.conf", `bind 127.0.0.1
port %d
dir %s
sentinel monitor %s 127.0.0.1 %d 1
sentinel down-after-milliseconds %s 60000
`, r.sentinelPort, r.dir, masterName, r.redisPort, masterName)
	if err != nil {
		return err
	}
	p, err := r.run(r.dir, "sentinel", []string{server, path, "--sentinel"})
	if err != nil {
		return err
	}
	request := encode("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
	address := encode("127.0.0.1", fmt.Sprint(r.redisPort))
	return p.await(ctx, 10*time.Second, func() error { return ask(door{port: r.sentinelPort}, time.Second, request, address) })
}

// load stores every value that a class asks for.
func (r *rig) load(chosen []class) error {
	fd, err := dial(r.redisPort, connTimeout)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	loaded := map[string]bool{} // by request
	for _, c := range chosen {
		for _, store := range c.stores() {
			if loaded[string(store[0])] {
				continue
			}
			loaded[string(store[0])] = true
			if _, err := socket(fd).Write(store[0]); err != nil {
				return fmt.Errorf("redis: %w", err)
			}
			if err := receive(socket(fd), store[1]); err != nil {
				return fmt.Errorf("redis: %w", err)
			}
		}
	}
	return nil
}

func (r *rig) run(dir, name string, argv []string) (*process, error) {
	p, err := startProcess(dir, name, argv)
	if err == nil {
		r.running = append(r.running, p)
	}
	return p, err
}

// stop ends an endpoint; direct is ended with the rig.
func (r *rig) stop(i *instance) {
	if i.proc == nil {
		return
	}
	i.proc.stop()
	r.running = slices.DeleteFunc(r.running, func(p *process) bool { return p == i.proc })
}

// close ends every process and removes the files.
func (r *rig) close() {
	for _, p := range slices.Backward(r.running) {
		p.stop()
	}
	os.RemoveAll(r.dir)
}

// meterFor reads the clocks of a run through i; everything else that runs in
// the rig is ours too.
func (r *rig) meterFor(i *instance) *meter {
	m := &meter{redis: r.redis.pid()}
	if i.proc != nil {
		m.proxy = i.proc.pid()
	}
	for _, p := range r.running {
		if pid := p.pid(); pid != m.redis && pid != m.proxy {
			m.others = append(m.others, pid)
		}
	}
	return m
}
