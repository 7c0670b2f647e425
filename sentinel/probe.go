package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"holdfast/config"
)

// lagging is how long ago a replica's last acknowledgement may be for it to be
// counted as attached. Replicas acknowledge every second; the master itself
// notices one that is cut off only after repl-timeout, a minute.
const lagging = 3 * time.Second

// prompt is the same for a replica that keeps the pace. Redis tells the difference
// of two clocks in whole seconds: one that acknowledges every second shows 0 or 1,
// or 2 for a moment when it is a little late.
const prompt = time.Second

// prober asks nodes for their role.
type prober struct {
	outside outside
	login   config.Login
	timeout time.Duration
}

// ask proves the role of one node, over a connection of its own: HELLO with the
// login, and INFO. It takes no longer than the timeout.
func (p prober) ask(ctx context.Context, addr string) proof {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	out := proof{addr: addr, asked: time.Now(), keys: -1}
	err := p.interview(ctx, &out)
	switch {
	case out.verdict != unasked:
	case answered(err):
		out.verdict, out.why = isMute, fmt.Sprintf("%s answers, but nothing about its role: %v", addr, err)
		if p.login == (config.Login{}) && strings.HasPrefix(err.Error(), "NOAUTH") {
			out.verdict, out.why = isLocked, addr+" wants a login, and holdfast has none"
		}
	case silent(err) || ctx.Err() != nil:
		out.verdict, out.why = isSilent, fmt.Sprintf("%s does not answer within %v%s", addr, p.timeout, hintOf(err))
	case unagreed(err):
		out.verdict, out.why = isMute, fmt.Sprintf("%s accepts connections, but cannot be asked: %v", addr, Bare(err))
	case gone(err):
		out.verdict, out.why = isGone, fmt.Sprintf("%s does not answer: %v", addr, Bare(err))
	default:
		out.verdict, out.why = isMute, fmt.Sprintf("%s cannot be asked: %v", addr, Bare(err))
	}
	out.heard = time.Now()
	return out
}

// interview fills in the proof, or returns why that was not possible.
func (p prober) interview(ctx context.Context, out *proof) error {
	link, err := connect(ctx, p.outside, out.addr, p.login, p.timeout)
	if err != nil {
		return err
	}
	defer link.Close()
	sections := []string{"server", "replication", "persistence", "keyspace"}
	info := make(map[string]string)
	replies, err := link.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, section := range sections {
			pipe.Info(ctx, section) // several in one command is for Redis 7 only
		}
		return nil
	})
	greeting := link.greeting
	for _, reply := range replies {
		switch text, ok := reply.(*redis.StringCmd); {
		case ok && text.Err() == nil:
			readInfo(text.Val(), info) // it is empty if the login was refused
		case greeting.err != nil && gone(reply.Err()):
			return greeting.err // it said why, and closed the connection
		case !answered(reply.Err()):
			return reply.Err()
		}
	}
	if greeting.role == "" && info["role"] == "" {
		return cmp.Or(greeting.err, err, errors.New("it told no role"))
	}
	out.read(greeting.role, info)
	return nil
}

// read draws the conclusion. The role is in HELLO's reply, which any user gets,
// and in INFO, which any version has; if they differ it was just changing.
func (p *proof) read(role string, info map[string]string) {
	p.runID = info["run_id"]
	p.offset, _ = strconv.ParseInt(info["master_repl_offset"], 10, 64)
	p.attached, p.prompt = attached(info, lagging), attached(info, prompt)
	if _, told := info["loading"]; told {
		p.keys = keys(info)
	}
	switch {
	case cmp.Or(role, "master") != "master" || cmp.Or(info["role"], "master") != "master":
		p.verdict, p.why = isReplica, fmt.Sprintf("%s says role:%s", p.addr, cmp.Or(info["role"], role))
	case info["loading"] == "1":
		p.verdict, p.why = isLoading, p.addr+" is loading its data set"
	default:
		p.verdict, p.why = isMaster, p.addr+" says role:master"
	}
}

// readInfo adds the fields of an INFO reply.
func readInfo(text string, fields map[string]string) {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
}

// attached counts the replicas in INFO replication that are online and whose last
// acknowledgement is no older than that: slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=0.
func attached(info map[string]string, lag time.Duration) int {
	n := 0
	for field, value := range info {
		if !strings.HasPrefix(field, "slave") || !strings.Contains(value, "state=online") {
			continue
		}
		_, told, _ := strings.Cut(value, "lag=")
		if s, err := strconv.Atoi(told); err == nil && time.Duration(s)*time.Second <= lag {
			n++
		}
	}
	return n
}

// keys counts the keys of all databases in INFO keyspace: db0:keys=4,expires=0.
// An empty database is not listed.
func keys(info map[string]string) int64 {
	var sum int64
	for field, value := range info {
		if !strings.HasPrefix(field, "db") || !strings.HasPrefix(value, "keys=") {
			continue
		}
		count, _, _ := strings.Cut(strings.TrimPrefix(value, "keys="), ",")
		if n, err := strconv.ParseInt(count, 10, 64); err == nil && n <= math.MaxInt64-sum {
			sum += n
		}
	}
	return sum
}
