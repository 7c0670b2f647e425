package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"holdfast/config"
)

// spoken is how the suite's clients speak.
func spoken() *tls.Config {
	if secured {
		return clientTLS()
	}
	return nil
}

// TestGoRedis uses the proxy as applications do: through a pool, in both
// protocols, across a failover.
func TestGoRedis(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			one, two := realRedis(t), realRedis(t)
			w := newWorld(t, one.Addr)
			r := redis.NewClient(&redis.Options{Addr: w.addr, TLSConfig: spoken(), Protocol: proto, DB: 2, ClientName: "app", MaxRetries: -1})
			t.Cleanup(func() { r.Close() })
			useGoRedis(w, r)
			sub := r.Subscribe(w.ctx, "ch")
			t.Cleanup(func() { sub.Close() })
			if _, err := sub.Receive(w.ctx); err != nil {
				t.Fatal(err)
			}
			w.move(two.Addr)
			useGoRedis(w, r)
			eventually(t, "the subscription", func() bool { return r.Publish(w.ctx, "ch", "hello").Val() == 1 })
			if m, err := sub.ReceiveMessage(w.ctx); err != nil || m.Payload != "hello" {
				t.Errorf("received %v, %v", m, err)
			}
			if got := w.do(two, "DBSIZE"); got != int64(0) {
				t.Errorf("database 0 has %v keys", got)
			}
		})
	}
}

func useGoRedis(w *world, r *redis.Client) {
	t, ctx := w.t, w.ctx
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("key-", i)
			for n := range 20 {
				if err := r.Set(ctx, key, n, 0).Err(); err != nil {
					t.Errorf("SET: %v", err)
				}
				if got, err := r.Get(ctx, key).Int(); err != nil || got != n {
					t.Errorf("GET: %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	cmds, err := r.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "counter", 0, 0)
		p.Incr(ctx, "counter")
		p.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: "m"})
		return nil
	})
	if err != nil || len(cmds) != 3 || cmds[1].(*redis.IntCmd).Val() != 1 {
		t.Errorf("TxPipelined: %v, %v", cmds, err)
	}
	err = r.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, "counter").Int()
		if err != nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "counter", n+1, 0).Err() })
		return err
	}, "counter")
	if err != nil || r.Get(ctx, "counter").Val() != "2" {
		t.Errorf("Watch: %v, counter %q", err, r.Get(ctx, "counter").Val())
	}
	if err := r.Do(ctx, "BLPOP", "nothing", "0.01").Err(); err != redis.Nil {
		t.Errorf("BLPOP: %v", err)
	}
	script := redis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	if got, err := script.Run(ctx, r, []string{"counter"}, 5).Int(); err != nil || got != 7 {
		t.Errorf("script: %v, %v", got, err)
	}
	if got, err := r.ClientGetName(ctx).Result(); err != nil || got != "app" {
		t.Errorf("CLIENT GETNAME: %q, %v", got, err)
	}
	if got, err := r.ZRangeWithScores(ctx, "zset", 0, -1).Result(); err != nil || len(got) != 1 || got[0].Score != 1.5 {
		t.Errorf("ZRANGE: %v, %v", got, err)
	}
}

// TestGoRedisSeesAWatchThatWasLost as the optimistic failure that it is written
// to retry.
func TestGoRedisSeesAWatchThatWasLost(t *testing.T) {
	one, two := realRedis(t), realRedis(t)
	w := newWorld(t, one.Addr)
	r := redis.NewClient(&redis.Options{Addr: w.addr, TLSConfig: spoken(), MaxRetries: -1})
	t.Cleanup(func() { r.Close() })
	err := r.Watch(w.ctx, func(tx *redis.Tx) error {
		w.move(two.Addr)
		_, err := tx.TxPipelined(w.ctx, func(p redis.Pipeliner) error { return p.Set(w.ctx, "k", 1, 0).Err() })
		return err
	}, "k")
	if !errors.Is(err, redis.TxFailedErr) {
		t.Errorf("Watch: %v", err)
	}
}

// tool runs a program of Redis' own to its end.
func tool(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED, not tested: %v", err)
	}
	if secured {
		args = append([]string{"--tls", "--cacert", certificates().File("ca.pem")}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func (w *world) port() string {
	_, port, _ := strings.Cut(w.addr, ":")
	return port
}

func TestRedisCLI(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, withPassword)
	for _, version := range []string{"-2", "-3"} {
		got := tool(t, "SET k v\nGET k\nLRANGE nothing 0 -1\nHGETALL nothing\nMULTI\nINCR n\nEXEC\nDEL n\n", "redis-cli", version, "-p", w.port(), "-a", "secret", "--no-auth-warning")
		if !strings.Contains(got, "OK\nv\n\n\nOK\nQUEUED\n1\n1\n") {
			t.Errorf("redis-cli %s: %q", version, got)
		}
	}
	var mass strings.Builder
	for i := range 20000 {
		mass.Write(command("SET", fmt.Sprint("key:", i), fmt.Sprint(i)))
	}
	if got := tool(t, mass.String(), "redis-cli", "-p", w.port(), "-a", "secret", "--no-auth-warning", "--pipe"); !strings.Contains(got, "errors: 0, replies: 20000") {
		t.Errorf("redis-cli --pipe: %q", got)
	}
	if got := tool(t, "", "redis-cli", "-p", w.port(), "-a", "secret", "--no-auth-warning", "--scan", "--pattern", "key:1999*"); strings.Count(got, "\n") != 11 {
		t.Errorf("redis-cli --scan: %q", got)
	}
}

func TestRedisBenchmark(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr, func(cfg *config.Config) { cfg.Limits.Loops = 2 })
	n := "20000"
	if testing.Short() {
		n = "2000"
	}
	got := tool(t, "", "redis-benchmark", "-p", w.port(), "-n", n, "-c", "50", "-P", "16", "-q", "-t", "set,get,incr,lpush,lrange_100,mset,zadd")
	if rates := regexp.MustCompile(`requests per second`).FindAllString(got, -1); len(rates) != 8 || strings.Contains(got, "rror") {
		t.Errorf("redis-benchmark: %q", got)
	}
	if st := w.counters(); st.Accepted != st.Answered {
		t.Errorf("%+v", st)
	}
}
