package resp

// ProtocolError is a request that Redis refuses: it sends Text and closes the
// connection.
type ProtocolError struct{ reason string }

// The reasons, in Redis' words.
var (
	errMultibulkString = &ProtocolError{"too big mbulk count string"}
	errMultibulkLength = &ProtocolError{"invalid multibulk length"}
	errMultibulkAuth   = &ProtocolError{"unauthenticated multibulk length"}
	errBulkString      = &ProtocolError{"too big bulk count string"}
	errBulkLength      = &ProtocolError{"invalid bulk length"}
	errBulkAuth        = &ProtocolError{"unauthenticated bulk length"}
	errInline          = &ProtocolError{"too big inline request"}
	errQuotes          = &ProtocolError{"unbalanced quotes in request"}

	// errCRLF is Valkey's (7.2.14, 8.0.11, 9.0.6 and later). Redis skips the two
	// bytes after a bulk, and the one after a CR, whatever they are. Passed on to
	// a Valkey, such a request would end a connection that others share.
	errCRLF = &ProtocolError{"invalid CRLF in request"}
)

// expectedDollar is the error for an argument that begins with got. Redis blanks
// a line break in it, which would end the error reply too early.
func expectedDollar(got byte) *ProtocolError {
	if got == '\r' || got == '\n' {
		got = ' '
	}
	return &ProtocolError{"expected '$', got '" + string([]byte{got}) + "'"}
}

// Error is the reason as Redis words it, without its "ERR".
func (e *ProtocolError) Error() string { return "Protocol error: " + e.reason }

// Text is the whole error reply that Redis sends, with its line end.
func (e *ProtocolError) Text() string { return "-ERR Protocol error: " + e.reason + "\r\n" }

// ReplyError is a reply that no server means to send: the connection it came
// from is out of step or does not speak the protocol.
type ReplyError struct{ reason string }

func (e *ReplyError) Error() string { return "malformed reply: " + e.reason }

var (
	errBulkEnd = &ReplyError{"no CR LF where a bulk ends"}
	errLineEnd = &ReplyError{"no LF after a length's CR"}
	errEndless = &ReplyError{"endless line"}
)
