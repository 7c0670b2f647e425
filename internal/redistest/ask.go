package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

// askTimeout bounds a command whose context has no deadline.
const askTimeout = 10 * time.Second

// ReplyError is an error reply as the server sent it, without the leading "-".
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// Do sends one command on a connection of its own, which comes from inside the
// node's host (a partition does not cut it off) and is authenticated with the
// node's password. It returns nil, string, int64 or []any, as RESP2 has them; an
// error reply is a ReplyError. Without a deadline in ctx it takes 10 s at most.
func (n *Node) Do(ctx context.Context, args ...any) (any, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	conn, err := n.Host.DialContext(ctx, "tcp", n.Addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // polling is not to fill the table of TIME_WAIT sockets
	}
	// Closing at cancellation ends a read that hangs on a frozen node.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply, err := ask(toServer(conn), n.password, args)
	var refused ReplyError
	if err != nil && !errors.As(err, &refused) {
		err = fmt.Errorf("%s: %v: %w", n.Name, args[0], errors.Join(err, ctx.Err()))
	}
	return reply, err
}

// ask authenticates and sends the command in one write, and returns the reply
// to the command.
func ask(conn net.Conn, password string, args []any) (any, error) {
	var out []byte
	skip := 0
	if password != "" {
		out = appendCommand(out, []any{"AUTH", password})
		skip = 1
	}
	if _, err := conn.Write(appendCommand(out, args)); err != nil {
		return nil, err
	}
	var in []byte
	chunk := make([]byte, 16<<10)
	for {
		n, err := conn.Read(chunk)
		in = append(in, chunk[:n]...)
		for {
			size, reply := redcon.ReadNextRESP(in)
			if size == 0 {
				break
			}
			if skip == 0 || reply.Type == redcon.Error {
				return value(reply)
			}
			skip--
			in = in[size:]
		}
		if err != nil {
			return nil, err
		}
	}
}

func appendCommand(out []byte, args []any) []byte {
	out = redcon.AppendArray(out, len(args))
	for _, a := range args {
		switch a := a.(type) {
		case string:
			out = redcon.AppendBulkString(out, a)
		case []byte:
			out = redcon.AppendBulk(out, a)
		default:
			out = redcon.AppendBulkString(out, fmt.Sprint(a))
		}
	}
	return out
}

// value turns a reply into Go's types.
func value(r redcon.RESP) (any, error) {
	switch r.Type {
	case redcon.Integer:
		return strconv.ParseInt(string(r.Data), 10, 64)
	case redcon.Error:
		return nil, ReplyError(r.Data)
	case redcon.Array:
		if r.Count < 0 {
			return nil, nil
		}
		items := make([]any, 0, r.Count)
		r.ForEach(func(e redcon.RESP) bool {
			item, err := value(e)
			if err != nil {
				item = err // an error inside EXEC's reply is a value there
			}
			items = append(items, item)
			return true
		})
		return items, nil
	case redcon.Bulk:
		if r.Data == nil {
			return nil, nil
		}
	}
	return string(r.Data), nil
}

// fields reads a flat array of names and values, as the SENTINEL commands reply.
func fields(reply any) map[string]string {
	list, _ := reply.([]any)
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		m[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return m
}

// Info returns the fields of INFO section.
func (n *Node) Info(ctx context.Context, section string) (map[string]string, error) {
	reply, err := n.Do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string)
	for line := range strings.SplitSeq(fmt.Sprint(reply), "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = v
		}
	}
	return m, nil
}

// Role is "master" or "slave", as the node itself says with ROLE; for a Sentinel
// "sentinel".
func (n *Node) Role(ctx context.Context) (string, error) {
	reply, err := n.Do(ctx, "ROLE")
	if err != nil {
		return "", err
	}
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return "", fmt.Errorf("%s: ROLE answered %v", n.Name, reply)
	}
	return fmt.Sprint(list[0]), nil
}
