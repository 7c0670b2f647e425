package redistest

import (
	"maps"
	"strconv"
	"strings"
)

// serverVersion is the version that scripted servers claim.
const serverVersion = "7.0.15"

// session are the commands that Redis and Sentinel have in common and that need
// to know nothing but the connection.
var session = map[string]Handler{
	"AUTH":    (*Conn).auth,
	"CLIENT":  (*Conn).client,
	"COMMAND": (*Conn).command,
	"ECHO":    func(c *Conn, args []string) { c.WriteBulkString(args[len(args)-1]) },
	"PING":    (*Conn).ping,
	"QUIT":    func(c *Conn, args []string) { OK(c, args); _ = c.Flush(); c.Cut() },
}

// speak gives a script the common commands; hello says what HELLO's reply tells
// beside the protocol.
func (s *Script) speak(hello func() (mode, role string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.handlers, session)
	s.handlers["HELLO"] = func(c *Conn, args []string) { c.hello(args, hello) }
}

// logIn checks a username and password, as AUTH and HELLO give them. Where none
// is required, the default user gets in with any password, as in Redis.
func (c *Conn) logIn(username, password string) bool {
	c.script.mu.Lock()
	defer c.script.mu.Unlock()
	wanted := c.script.username
	if wanted == "" {
		wanted = "default"
	}
	ok := username == wanted && (c.script.password == "" || password == c.script.password)
	c.loggedIn = c.loggedIn || ok
	return ok
}

func (c *Conn) auth(args []string) {
	username := "default"
	switch len(args) {
	case 2:
	case 3:
		username = args[1]
	default:
		c.WriteError("ERR wrong number of arguments for 'auth' command")
		return
	}
	switch {
	case c.script.open() && len(args) == 2:
		c.WriteError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case !c.logIn(username, args[len(args)-1]):
		c.WriteError("WRONGPASS invalid username-password pair or user is disabled.")
	default:
		c.WriteString("OK")
	}
}

// open says whether nobody needs to log in.
func (s *Script) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.password == ""
}

// hello understands HELLO [2|3 [AUTH username password] [SETNAME name]].
func (c *Conn) hello(args []string, tell func() (mode, role string)) {
	proto := c.proto
	if len(args) > 1 {
		var err error
		if proto, err = strconv.Atoi(args[1]); err != nil || proto < 2 || proto > 3 {
			c.WriteError("NOPROTO unsupported protocol version")
			return
		}
	}
	for i := 2; i+2 < len(args); i++ {
		if strings.EqualFold(args[i], "AUTH") && !c.logIn(args[i+1], args[i+2]) {
			c.WriteError("WRONGPASS invalid username-password pair or user is disabled.")
			return
		}
	}
	c.script.mu.Lock()
	allowed := c.loggedIn || c.script.password == ""
	if allowed {
		c.proto = proto
	}
	c.script.mu.Unlock()
	if !allowed {
		c.WriteError("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	mode, role := tell()
	c.writeHello(mode, role)
}

// writeHello leaves the role out where it is "", as a Sentinel does.
func (c *Conn) writeHello(mode, role string) {
	pairs := 6
	if role != "" {
		pairs++
	}
	c.WriteMap(pairs)
	c.writePairs("server", "redis", "version", serverVersion)
	c.WriteBulkString("proto")
	c.WriteInt(c.proto)
	c.WriteBulkString("id")
	c.WriteInt(c.number)
	c.writePairs("mode", mode)
	if role != "" {
		c.writePairs("role", role)
	}
	c.WriteBulkString("modules")
	c.WriteArray(0)
}

// writePairs writes names and values in turn, without a header.
func (c *Conn) writePairs(words ...string) {
	for _, w := range words {
		c.WriteBulkString(w)
	}
}

// ping answers a subscriber in RESP2 as Redis does: with an array.
func (c *Conn) ping(args []string) {
	c.script.mu.Lock()
	subscriber := c.proto == 2 && len(c.channels)+len(c.patterns) > 0
	c.script.mu.Unlock()
	switch {
	case subscriber && len(args) == 1:
		c.WriteStrings("pong", "")
	case subscriber:
		c.WriteStrings("pong", args[1])
	case len(args) == 1:
		c.WriteString("PONG")
	default:
		c.WriteBulkString(args[1])
	}
}

// client agrees to everything; it remembers nothing and kills nobody.
func (c *Conn) client(args []string) {
	switch sub := strings.ToUpper(args[len(args)-1]); {
	case len(args) == 2 && sub == "ID":
		c.WriteInt(c.number)
	case len(args) > 2 && strings.EqualFold(args[1], "KILL"):
		c.WriteInt(0)
	default:
		c.WriteString("OK")
	}
}

// commandTable is what COMMAND tells: name, arity, flags, first and last key, step.
var commandTable = []struct {
	name              string
	arity             int
	flags             []string
	first, last, step int
}{
	{"get", 2, []string{"readonly", "fast"}, 1, 1, 1},
	{"incr", 2, []string{"write", "denyoom", "fast"}, 1, 1, 1},
	{"set", -3, []string{"write", "denyoom"}, 1, 1, 1},
	{"ping", -1, []string{"fast"}, 0, 0, 0},
	{"echo", 2, []string{"fast"}, 0, 0, 0},
	{"role", 1, []string{"noscript", "loading", "stale", "fast"}, 0, 0, 0},
	{"info", -1, []string{"loading", "stale"}, 0, 0, 0},
	{"auth", -2, []string{"noscript", "loading", "stale", "fast", "no_auth"}, 0, 0, 0},
	{"hello", -1, []string{"noscript", "loading", "stale", "fast", "no_auth"}, 0, 0, 0},
	{"select", 2, []string{"loading", "stale", "fast"}, 0, 0, 0},
	{"client", -2, []string{"noscript", "loading", "stale"}, 0, 0, 0},
	{"subscribe", -2, []string{"pubsub", "noscript", "loading", "stale"}, 0, 0, 0},
	{"psubscribe", -2, []string{"pubsub", "noscript", "loading", "stale"}, 0, 0, 0},
}

// command answers COMMAND and COMMAND COUNT.
func (c *Conn) command(args []string) {
	if len(args) > 1 {
		c.WriteInt(len(commandTable))
		return
	}
	c.WriteArray(len(commandTable))
	for _, e := range commandTable {
		c.WriteArray(6)
		c.WriteBulkString(e.name)
		c.WriteInt(e.arity)
		c.WriteArray(len(e.flags))
		for _, f := range e.flags {
			c.WriteString(f)
		}
		c.WriteInt(e.first)
		c.WriteInt(e.last)
		c.WriteInt(e.step)
	}
}
