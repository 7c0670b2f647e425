package chaos

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"holdfast/internal/redistest"
)

// trick answers some commands that a client sent together. An honest one forwards
// each and returns the reply; nil cuts the client.
type trick func(l *link, commands []redcon.Command) []reply

// link is one client of a crooked proxy and its own upstream.
type link struct {
	target   string
	client   net.Conn
	upstream *conn
	born     time.Time // of the upstream
	count    int       // for the trick
	kept     map[string]reply
	held     []byte
	deaf     time.Duration // a subscription is forgotten after so long; 0: never
}

// crooked is an Endpoint that follows no failover, and plays a trick.
func crooked(play trick) Endpoint { return crookedAndDeaf(play, 0) }

func crookedAndDeaf(play trick, deaf time.Duration) Endpoint {
	return func(ctx context.Context, c *redistest.Cluster, _ io.Writer) (*Front, error) {
		master, err := c.Master(ctx)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				client, err := l.Accept()
				if err != nil {
					return
				}
				link := &link{target: master.Addr, client: client, kept: map[string]reply{}, deaf: deaf}
				wg.Go(func() { serveCrooked(ctx, link, play) })
			}
		})
		return &Front{Addr: l.Addr().String(), Stop: func() { cancel(); l.Close(); wg.Wait() }}, nil
	}
}

func serveCrooked(ctx context.Context, l *link, play trick) {
	defer l.client.Close()
	defer context.AfterFunc(ctx, func() { l.client.Close() })()
	if l.redial() != nil {
		return
	}
	defer func() { l.upstream.close() }()
	in := redcon.NewReader(l.client)
	for {
		commands, err := in.ReadCommands()
		if err != nil {
			return
		}
		if strings.Contains(name(commands[0]), "SUBSCRIBE") {
			l.relay(ctx, commands[0].Raw)
			return
		}
		replies := play(l, commands)
		if replies == nil {
			return
		}
		var out []byte
		for _, r := range replies {
			out = appendReply(out, r)
		}
		if _, err := l.client.Write(out); err != nil {
			return
		}
	}
}

// redial replaces the upstream, and forgets all that it knew.
func (l *link) redial() error {
	if l.upstream != nil {
		l.upstream.close()
	}
	nc, err := net.Dial("tcp", l.target)
	if err != nil {
		return err
	}
	l.upstream, l.born = newConn(nc), time.Now()
	return nil
}

// forward sends raw bytes to the upstream and returns the next reply, after the
// pushes before it.
func (l *link) forward(raw []byte) (replies []reply) {
	if _, err := l.upstream.nc.Write(raw); err != nil {
		return nil
	}
	for {
		r, err := l.upstream.read(time.Minute)
		if err != nil {
			return nil
		}
		if replies = append(replies, r); r.kind != '>' {
			return replies
		}
	}
}

// relay serves a subscriber: bytes in both directions. What goes down ends with
// the client, what comes up ends with the last upstream.
func (l *link) relay(ctx context.Context, raw []byte) {
	defer context.AfterFunc(ctx, func() { l.client.Close() })()
	if _, err := l.upstream.nc.Write(raw); err != nil {
		return
	}
	var current atomic.Pointer[conn]
	current.Store(l.upstream)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1024)
		for {
			n, err := l.client.Read(buf)
			if _, werr := current.Load().nc.Write(buf[:n]); err != nil || werr != nil {
				current.Load().close()
				return
			}
		}
	}()
	if l.deaf != 0 {
		_ = l.upstream.nc.SetReadDeadline(time.Now().Add(l.deaf))
		_, _ = io.Copy(l.client, l.upstream.nc)
		if l.redial() == nil {
			current.Store(l.upstream)
		}
	}
	_, _ = io.Copy(l.client, l.upstream.nc)
	l.client.Close()
	<-done
}

func appendReply(out []byte, r reply) []byte {
	switch {
	case r.null && r.kind == '_':
		return append(out, "_\r\n"...)
	case r.null:
		return append(append(out, r.kind), "-1\r\n"...)
	case strings.IndexByte("*>~%", r.kind) >= 0:
		n := len(r.elems)
		if r.kind == '%' {
			n /= 2
		}
		out = append(append(out, r.kind), strconv.Itoa(n)+"\r\n"...)
		for _, e := range r.elems {
			out = appendReply(out, e)
		}
		return out
	case r.kind == '$':
		return redcon.AppendBulkString(out, r.text)
	}
	return append(append(out, r.kind), r.text+"\r\n"...)
}

func name(c redcon.Command) string { return strings.ToUpper(string(c.Args[0])) }

// to says whether the command names this place of a writer.
func to(c redcon.Command, command, place string) bool {
	return name(c) == command && len(c.Args) > 1 && strings.HasPrefix(string(c.Args[1]), place)
}

// honest forwards everything.
func honest(l *link, commands []redcon.Command) (replies []reply) {
	for _, c := range commands {
		r := l.forward(c.Raw)
		if r == nil {
			return nil
		}
		replies = append(replies, r...)
	}
	return replies
}

// sometimes plays a trick on every twentieth command that is one of those.
func sometimes(is func(redcon.Command) bool, play func(l *link, c redcon.Command) []reply) trick {
	return func(l *link, commands []redcon.Command) (replies []reply) {
		for _, c := range commands {
			answer := func(l *link, c redcon.Command) []reply { return l.forward(c.Raw) }
			if is(c) {
				if l.count++; l.count%20 == 0 {
					answer = play
				}
			}
			r := answer(l, c)
			if r == nil {
				return nil
			}
			replies = append(replies, r...)
		}
		return replies
	}
}

func pushes(c redcon.Command) bool { return to(c, "RPUSH", "list:writer") }
func sets(c redcon.Command) bool   { return to(c, "SET", "writer") }
func begins(c redcon.Command) bool { return name(c) == "MULTI" }
func looks(c redcon.Command) bool  { return to(c, "LINDEX", "list:reader") }

// retries sends a write, loses the connection, and sends the write again.
func retries(l *link, c redcon.Command) []reply {
	if _, err := l.upstream.nc.Write(c.Raw); err != nil || l.redial() != nil {
		return nil
	}
	return l.forward(c.Raw)
}

// swaps exchanges the first two replies of the third batch.
func swaps(l *link, commands []redcon.Command) []reply {
	replies := honest(l, commands)
	if len(replies) > 1 {
		l.count++
	}
	if len(replies) > 1 && l.count == 3 {
		replies[0], replies[1] = replies[1], replies[0]
	}
	return replies
}

// forgets reconnects to the master five times a second, without the state.
func forgets(l *link, commands []redcon.Command) []reply {
	if time.Since(l.born) > 200*time.Millisecond && l.redial() != nil {
		return nil
	}
	return honest(l, commands)
}

// pretends says OK to a write that it does not send.
func pretends(*link, redcon.Command) []reply { return []reply{{kind: '+', text: "OK"}} }

// denies applies a write and says that it did not.
func denies(l *link, c redcon.Command) []reply {
	l.forward(c.Raw)
	return []reply{{kind: '-', text: "MASTERDOWN not executed"}}
}

// doubts applies a write and says that nobody knows.
func doubts(l *link, c redcon.Command) []reply {
	l.forward(c.Raw)
	return []reply{{kind: '-', text: "UNCERTAIN it may have been applied"}}
}

// tears applies half of a transaction that nobody asked for.
func tears(l *link, c redcon.Command) []reply {
	nc, err := net.Dial("tcp", l.target)
	if err != nil {
		return nil
	}
	aside := newConn(nc)
	defer aside.close()
	if _, err := aside.do(time.Second, "DECRBY", "from:transfer-1", "1"); err != nil {
		return nil
	}
	return l.forward(c.Raw)
}

// cuts closes the connection.
func cuts(*link, redcon.Command) []reply { return nil }

// hangs never answers: it waits until the client has given up.
func hangs(l *link, _ redcon.Command) []reply {
	_, _ = l.client.Read(make([]byte, 1))
	return nil
}

// remembers answers a read from the time before.
func remembers(l *link, commands []redcon.Command) (replies []reply) {
	for _, c := range commands {
		r := l.forward(c.Raw)
		if r == nil {
			return nil
		}
		if looks(c) {
			key := string(c.Args[1])
			if old, ok := l.kept[key]; ok {
				l.kept[key], r[0] = r[0], old
			} else {
				l.kept[key] = r[0]
			}
		}
		replies = append(replies, r...)
	}
	return replies
}

// delays acknowledges a write and sends it after the next one.
func delays(l *link, commands []redcon.Command) (replies []reply) {
	for _, c := range commands {
		if pushes(c) && l.held == nil {
			l.held = append(l.held, c.Raw...)
			replies = append(replies, reply{kind: ':', text: "1"})
			continue
		}
		r := l.forward(c.Raw)
		if l.held != nil && r != nil && pushes(c) {
			l.forward(l.held)
			l.held = nil
		}
		if r == nil {
			return nil
		}
		replies = append(replies, r...)
	}
	return replies
}
