package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

// reply is one decoded reply or push of RESP2 or RESP3. It is not read with
// holdfast's own scanner: a framing mistake on both sides would cancel out.
type reply struct {
	kind  byte // the type byte: '+', '-', ':', '$', '*', '>', ...
	text  string
	elems []reply // of an array, set or push; names and values in turn of a map
	null  bool
}

func (r reply) failed() bool { return r.kind == '-' || r.kind == '!' }

// number is the value of an integer, or of a text that is one; -1 otherwise.
func (r reply) number() int64 {
	n, err := strconv.ParseInt(r.text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// is says whether r is an aggregate that begins with these texts.
func (r reply) is(texts ...string) bool {
	if len(r.elems) < len(texts) {
		return false
	}
	for i, t := range texts {
		if r.elems[i].text != t {
			return false
		}
	}
	return true
}

func (r reply) String() string {
	switch {
	case r.null:
		return "null"
	case r.elems != nil:
		parts := make([]string, len(r.elems))
		for i, e := range r.elems {
			parts[i] = e.String()
		}
		return fmt.Sprintf("%c[%s]", r.kind, strings.Join(parts, " "))
	case r.kind == '$':
		return strconv.Quote(r.text)
	}
	return string(r.kind) + r.text
}

// Bounds on what a broken endpoint may make us allocate.
const (
	maxText  = 1 << 20
	maxElems = 1 << 20
)

// readReply reads one reply or push. Attributes are skipped.
func readReply(r *bufio.Reader) (reply, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{}, fmt.Errorf("malformed reply %q", line)
	}
	kind, text := line[0], line[1:len(line)-2]
	switch kind {
	case '+', '-', ':', ',', '(', '#':
		return reply{kind: kind, text: text}, nil
	case '_':
		return reply{kind: kind, null: true}, nil
	case '$', '=', '!':
		return readBulk(r, kind, text)
	case '*', '~', '>', '%':
		return readElems(r, kind, text)
	case '|':
		if _, err := readElems(r, '%', text); err != nil {
			return reply{}, err
		}
		return readReply(r)
	}
	return reply{}, fmt.Errorf("malformed reply %q", line)
}

func readBulk(r *bufio.Reader, kind byte, size string) (reply, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < -1 || n > maxText {
		return reply{}, fmt.Errorf("malformed reply: %c%s", kind, size)
	}
	if n == -1 {
		return reply{kind: kind, null: true}, nil
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(r, body); err != nil {
		return reply{}, err
	}
	if string(body[n:]) != "\r\n" {
		return reply{}, fmt.Errorf("malformed reply: %c%s ends in %q", kind, size, body[n:])
	}
	return reply{kind: kind, text: string(body[:n])}, nil
}

func readElems(r *bufio.Reader, kind byte, count string) (reply, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < -1 || n > maxElems {
		return reply{}, fmt.Errorf("malformed reply: %c%s", kind, count)
	}
	if n == -1 {
		return reply{kind: kind, null: true}, nil
	}
	if kind == '%' {
		n *= 2
	}
	elems := make([]reply, n)
	for i := range elems {
		if elems[i], err = readReply(r); err != nil {
			return reply{}, err
		}
	}
	return reply{kind: kind, elems: elems}, nil
}

// conn is a connection of one client: it sends what it is told, once, and never
// reconnects. It belongs to one goroutine.
type conn struct {
	nc     net.Conn
	r      *bufio.Reader
	out    []byte
	pushed func(reply) // takes the RESP3 pushes that stand between replies
}

func newConn(nc net.Conn) *conn {
	return &conn{nc: nc, r: bufio.NewReader(nc), pushed: func(reply) {}}
}

// queue adds a command to what flush will send.
func (c *conn) queue(args ...string) {
	c.out = redcon.AppendArray(c.out, len(args))
	for _, a := range args {
		c.out = redcon.AppendBulkString(c.out, a)
	}
}

func (c *conn) flush(limit time.Duration) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// read returns the next reply or push.
func (c *conn) read(limit time.Duration) (reply, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return reply{}, err
	}
	return readReply(c.r)
}

// receive returns the next reply; pushed takes the pushes before it.
func (c *conn) receive(limit time.Duration) (reply, error) {
	for {
		r, err := c.read(limit)
		if err != nil || r.kind != '>' {
			return r, err
		}
		c.pushed(r)
	}
}

// await says whether something to receive arrives within limit. Unlike receive
// it can be repeated when it did not.
func (c *conn) await(limit time.Duration) (bool, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false, err
	}
	_, err := c.r.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// do sends one command and waits for its reply.
func (c *conn) do(limit time.Duration, args ...string) (reply, error) {
	c.queue(args...)
	if err := c.flush(limit); err != nil {
		return reply{}, err
	}
	return c.receive(limit)
}

func (c *conn) close() { c.nc.Close() }
