package proxy

// kind is what a command means to the connection it travels on. Data commands
// are all plain; how they may be retried is asked of the server's COMMAND table
// and only when a connection is lost.
type kind uint8

const (
	kindPlain kind = iota
	kindAuth
	kindHello
	kindSelect
	kindClient
	kindMulti
	kindExec
	kindDiscard
	kindWatch
	kindUnwatch
	kindSubscribe
	kindUnsubscribe
	kindMonitor
	kindReset
	kindQuit
	kindReadonly
	kindReadwrite
	kindWeb      // POST, Host: - not a Redis client speaks, but a browser that was made to
	kindReplica  // SYNC, PSYNC, REPLCONF: refused
	kindWait     // WAIT, WAITAOF
	kindScript   // EVAL, SCRIPT: may give the node a script
	kindNullExec // a DISCARD sent in place of an EXEC whose WATCH did not survive
	kindProve    // HELLO of our own, to learn the role after the client has logged in
	kindOwn      // a command of our own on a spare upstream; its reply is swallowed
	kindPoison   // sent in place of a queued command that we answer: it makes EXEC abort
	kindSilent   // sent under CLIENT REPLY OFF or SKIP: no reply comes
	kindAnswer   // never sent: the answer is ours and waits for its turn
)

// longestName is the longest name that classify knows.
const longestName = 12

// classify names the kind of a command by its name in any case.
func classify(name []byte) kind {
	if len(name) < 4 || len(name) > longestName {
		return kindPlain
	}
	var fold [longestName]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		fold[i] = c
	}
	switch string(fold[:len(name)]) {
	case "auth":
		return kindAuth
	case "hello":
		return kindHello
	case "select":
		return kindSelect
	case "client":
		return kindClient
	case "multi":
		return kindMulti
	case "exec":
		return kindExec
	case "discard":
		return kindDiscard
	case "watch":
		return kindWatch
	case "unwatch":
		return kindUnwatch
	case "subscribe", "psubscribe", "ssubscribe":
		return kindSubscribe
	case "unsubscribe", "punsubscribe", "sunsubscribe":
		return kindUnsubscribe
	case "monitor":
		return kindMonitor
	case "reset":
		return kindReset
	case "quit":
		return kindQuit
	case "post", "host:":
		return kindWeb
	case "readonly":
		return kindReadonly
	case "readwrite":
		return kindReadwrite
	case "sync", "psync", "replconf":
		return kindReplica
	case "wait", "waitaof":
		return kindWait
	case "eval", "script":
		return kindScript
	}
	return kindPlain
}

// stateful tells whether the command changes what its connection is, so that
// its acknowledgement must be seen and its bytes kept until then.
func (k kind) stateful() bool {
	switch k {
	case kindPlain, kindScript, kindWait, kindReplica, kindAnswer, kindQuit:
		return false
	}
	return true
}

// resendable tells whether a command that was sent and not answered may be sent
// again whatever the COMMAND table says: it changes nothing but its connection,
// and that connection is gone.
func (k kind) resendable() bool {
	switch k {
	case kindAuth, kindHello, kindSelect, kindClient, kindWatch, kindUnwatch, kindSubscribe,
		kindUnsubscribe, kindMonitor, kindReset, kindReadonly, kindReadwrite, kindDiscard, kindNullExec:
		return true
	}
	return false
}
