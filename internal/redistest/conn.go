package redistest

import (
	"net"
	"sync"

	"github.com/tidwall/redcon"
)

// Conn is one connection to a Script, as its handlers see it. What they write is
// sent when they return, or at Flush.
type Conn struct {
	*redcon.Writer
	script *Script
	number int
	socket net.Conn
	net    net.Conn // the same, or TLS over it
	proto  int      // 2 or 3

	sending sync.Mutex // one sender at a time: the handler's Flush, or Publish
	once    sync.Once
	done    chan struct{}

	// Guarded by the script's lock.
	loggedIn bool
	channels map[string]bool
	patterns map[string]bool
}

func newConn(s *Script, number int, nc net.Conn) *Conn {
	c := &Conn{script: s, number: number, socket: nc, net: ofServer(nc), proto: 2, done: make(chan struct{}),
		channels: make(map[string]bool), patterns: make(map[string]bool)}
	c.Writer = redcon.NewWriter(sender{c})
	return c
}

// sender writes to the connection, whole buffers at a time.
type sender struct{ c *Conn }

func (s sender) Write(p []byte) (int, error) {
	s.c.sending.Lock()
	defer s.c.sending.Unlock()
	return s.c.net.Write(p)
}

// serve reads and answers commands until either side closes the connection.
func (c *Conn) serve() {
	defer c.forget()
	for commands := redcon.NewReader(c.net); ; {
		cmd, err := commands.ReadCommand()
		if err != nil {
			return
		}
		args := make([]string, len(cmd.Args))
		for i, a := range cmd.Args {
			args[i] = string(a)
		}
		c.script.receive(c, args)(c, args)
		if c.Flush() != nil {
			return
		}
	}
}

func (c *Conn) forget() {
	c.Cut()
	c.script.mu.Lock()
	defer c.script.mu.Unlock()
	delete(c.script.conns, c)
	c.script.change()
}

// Number is the connection's number, as in Command: 1 for the first.
func (c *Conn) Number() int { return c.number }

// Proto is the protocol version that HELLO chose: 2 or 3.
func (c *Conn) Proto() int { return c.proto }

// Done is closed when the connection has been cut from this side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Cut closes the connection. What was written but not sent is lost.
func (c *Conn) Cut() {
	c.once.Do(func() {
		close(c.done)
		c.socket.Close()
	})
}

// Reset closes the connection with a TCP reset, as a host that lost its state.
func (c *Conn) Reset() {
	if tcp, ok := c.socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it is an ordinary end
	}
	c.Cut()
}

// WriteStrings writes an array of bulk strings.
func (c *Conn) WriteStrings(list ...string) {
	c.WriteArray(len(list))
	for _, s := range list {
		c.WriteBulkString(s)
	}
}

// WriteMap announces n pairs: a map, or the flat array that stands for it in
// RESP2.
func (c *Conn) WriteMap(n int) {
	if c.proto == 3 {
		c.WriteRaw(header('%', n))
		return
	}
	c.WriteArray(2 * n)
}

// WriteNull writes RESP3's null, or the null bulk string of RESP2.
func (c *Conn) WriteNull() { c.writeNull("$-1\r\n") }

// WriteNullArray writes RESP3's null, or the null array of RESP2.
func (c *Conn) WriteNullArray() { c.writeNull("*-1\r\n") }

func (c *Conn) writeNull(resp2 string) {
	if c.proto == 3 {
		resp2 = "_\r\n"
	}
	c.WriteRaw([]byte(resp2))
}

// header is the first line of an aggregate.
func header(kind byte, n int) []byte {
	line := redcon.AppendArray(nil, n)
	line[0] = kind
	return line
}

// nothing answers nothing.
func nothing(*Conn, []string) {}

// Hang answers nothing and reads no further, until the script cuts the
// connection.
func Hang(c *Conn, _ []string) { <-c.Done() }

// Cut closes the connection instead of answering.
func Cut(c *Conn, _ []string) { c.Cut() }

// OK answers +OK.
func OK(c *Conn, _ []string) { c.WriteString("OK") }

// Raw answers these bytes, whatever they are.
func Raw(bytes string) Handler {
	return func(c *Conn, _ []string) { c.WriteRaw([]byte(bytes)) }
}

// Half sends these bytes, the beginning of a reply, and hangs.
func Half(bytes string) Handler {
	return func(c *Conn, args []string) {
		c.WriteRaw([]byte(bytes))
		_ = c.Flush() // the other side may be gone
		Hang(c, args)
	}
}

// Error answers an error; text begins with its code and has no "-".
func Error(text string) Handler {
	return Raw("-" + text + "\r\n")
}

// InTurn answers the first command with the first handler, the second with the
// second, and so on; the last one answers all that follow.
func InTurn(handlers ...Handler) Handler {
	var mu sync.Mutex
	turn := 0
	return func(c *Conn, args []string) {
		mu.Lock()
		h := handlers[min(turn, len(handlers)-1)]
		turn++
		mu.Unlock()
		h(c, args)
	}
}
