//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// instance is a running endpoint; of direct there is no process but Redis.
type instance struct {
	endpoint
	port    int
	tlsPort int         // where it speaks TLS, if it does
	client  *tls.Config // for that port
	side    int         // where it tells its metrics, if it does
	proc    *process    // nil: direct
}

// door is where a class' clients come in.
func (i *instance) door(c class) door {
	if c.tls {
		return door{i.tlsPort, i.client}
	}
	return door{port: i.port}
}

// start runs an endpoint of its own and returns when it answers PING. The
// caller stops it with rig.stop.
func (r *rig) start(ctx context.Context, e endpoint) (*instance, error) {
	i := &instance{endpoint: e, port: r.redisPort, tlsPort: r.redisTLSPort, client: r.identity.client}
	if e.program == "" {
		return i, nil
	}
	for _, port := range []*int{&i.port, &i.tlsPort, &i.side} {
		var err error
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(r.dir, e.name+"-")
	if err != nil {
		return nil, err
	}
	args, err := e.setup(r, i, dir)
	if err != nil {
		return nil, err
	}
	if i.proc, err = r.run(dir, e.name, append([]string{e.program}, args...)); err != nil {
		return nil, err
	}
	if err := i.proc.await(ctx, 15*time.Second, i.pong); err != nil {
		r.stop(i)
		return nil, err
	}
	return i, nil
}

// pong asks at every door that there is.
func (i *instance) pong() error {
	for _, c := range []class{{}, {tls: true}} {
		if c.tls && !i.takes(c) {
			continue
		}
		if err := ask(i.door(c), time.Second, encode("PING"), []byte("+PONG\r\n")); err != nil {
			return err
		}
	}
	return nil
}

// takes says whether a class is for this endpoint.
func (e endpoint) takes(c class) bool { return e.lack(c) == "" }

// lack is why a class is not for this endpoint, all that there is to say.
func (e endpoint) lack(c class) string {
	var reasons []string
	for _, lacks := range e.lacks {
		if why := lacks(c); why != "" {
			reasons = append(reasons, why)
		}
	}
	return strings.Join(reasons, "; ")
}

// as is the class as this endpoint answers it.
func (e endpoint) as(c class) class {
	c.constant = e.constant
	return c
}

// verify asks an endpoint for one value of every size and one of every kind of
// command in full, byte for byte, because the generator compares large replies
// only at their ends.
func (i *instance) verify(chosen []class) error {
	for _, c := range chosen {
		if !i.takes(c) {
			continue
		}
		for _, key := range []int{0, 3, 7, keysFor(c.size) - 1} {
			request, reply := i.as(c).step(key)
			if err := ask(i.door(c), connTimeout, request, reply); err != nil {
				return fmt.Errorf("%s: %s of %d bytes: %w", i.name, c.command, c.size, err)
			}
		}
	}
	return nil
}

// mallocsGrain is how many objects mallocs may be off by: the runtime counts small
// ones by the page that they fill, and being asked costs a few thousand.
const mallocsGrain = 10_000

// mallocs is how many objects a holdfast has allocated on its heap so far, by
// its own metrics.
func (i *instance) mallocs() (float64, error) {
	client := http.Client{Timeout: connTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", i.side))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("%s tells no allocations", i.name), lines.Err())
}
