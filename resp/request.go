// Package resp finds where requests and replies of the Redis protocol end. It
// holds no socket, starts no goroutine and does not allocate; whoever owns a
// connection owns its scanners.
//
// Its invariants:
//
//   - How the bytes are cut into pieces never matters: the same bytes give the
//     same ends and the same errors.
//   - Nothing is scanned again because more had to come, except the one header
//     line that was cut, and no byte of a bulk is looked at at all: a frame
//     larger than every buffer is passed on by counting.
//   - What a scanner calls a request, Redis (since 7) and Valkey call the same
//     request. What one of them would refuse, by closing the connection, is an
//     error here: so a frame that was scanned can be written to a connection
//     that is shared with others.
//   - Nothing that a peer announces is believed to the extent of reserving
//     memory for it, or of overflowing a counter.
package resp

import "math"

// Redis' own limits for a request.
const (
	DefaultMaxBulk = 512 << 20     // bytes, proto-max-bulk-len
	DefaultMaxArgs = math.MaxInt32 // since Redis 7; 1024*1024 before
	maxInline      = 64 << 10      // bytes before the LF, PROTO_INLINE_MAX_SIZE

	unauthenticatedBulk = 16384 // bytes
	unauthenticatedArgs = 10
)

// Request says where a request ends: a multibulk one ("*2\r\n$3\r\nGET\r\n...")
// or an inline one ("GET key\r\n"), by the rules of Redis' processMultibulkBuffer
// and processInlineBuffer. The zero value is ready, and ready again after each
// request.
type Request struct {
	MaxBulk int64 // bytes of the longest argument, 0 for DefaultMaxBulk
	MaxArgs int   // most arguments of a request, 0 for DefaultMaxArgs

	state           requestState
	quote           quoting // of an inline request
	inline          bool
	unauthenticated bool
	args            int
	left            int    // arguments whose header has not ended yet
	body            int64  // bytes of the current argument still to come
	line            int    // bytes of an inline request so far
	head            header // zero outside of a header line
	err             error
}

type requestState uint8

const (
	requestIdle  requestState = iota // between two requests
	requestCount                     // in "*<count>\r\n"
	requestSize                      // in "$<size>\r\n", or before it
	requestBody                      // in an argument's bytes
	requestCR                        // before the CR that ends an argument
	requestLF                        // before the LF that ends an argument
	requestLine                      // in an inline request
	requestBroken
)

// Scan consumes bytes of p up to the end of the current request. If it is done,
// p[:n] ends it. If not, all of p belongs to it: n is len(p), and the next call
// goes on with the bytes that follow. The error is a *ProtocolError and lasts, as
// Redis closes the connection after it.
func (r *Request) Scan(p []byte) (n int, done bool, err error) {
	if r.state == requestIdle && len(p) > 0 {
		n = r.begin(p)
		if r.state == requestIdle {
			return n, true, nil
		}
	}
	return r.scan(p, n)
}

// scan goes on with the current request at p[n:].
func (r *Request) scan(p []byte, n int) (int, bool, error) {
	for n < len(p) {
		var err *ProtocolError
		switch r.state {
		case requestCount:
			k, ended := r.head.read(p[n:])
			n += k
			if ended {
				err = r.count()
			}

		case requestSize:
			if n = r.skip(p, n); r.state != requestSize {
				break
			}
			k, ended := r.head.read(p[n:])
			n += k
			if ended {
				err = r.size()
			}

		case requestBody:
			k := min(r.body, int64(len(p)-n))
			n += int(k)
			if r.body -= k; r.body == 0 {
				r.state = requestCR
			}

		case requestCR:
			if p[n] != '\r' {
				err = errCRLF
			}
			n++
			r.state = requestLF

		case requestLF:
			if p[n] != '\n' {
				err = errCRLF
			}
			n++
			r.next()

		case requestLine:
			var k int
			k, err = r.readLine(p[n:])
			n += k

		case requestBroken:
			return n, false, r.err
		}
		if err != nil {
			r.state, r.err = requestBroken, err
			return n, false, err
		}
		if r.state == requestIdle {
			return n, true, nil
		}
	}
	return n, false, r.err
}

// begin starts a request at p and passes over what of it needs no closer look.
func (r *Request) begin(p []byte) (n int) {
	r.args, r.left = 0, 0
	r.inline = p[0] != '*'
	if r.inline {
		r.line, r.quote = 0, between
		r.state = requestLine
		return 0
	}
	r.state = requestCount
	if count, next := number(p, 1); count > 0 && count <= r.argsLimit() {
		r.args, r.left = count, count
		r.state = requestSize
		return r.skip(p, next)
	}
	return 0
}

// skip passes over the arguments at p[n:] as long as their headers lie wholly in
// p and need no closer look; it is what nearly every request consists of. It
// stops in front of a header (requestSize), behind one (requestBody), or behind
// the last argument (requestIdle).
func (r *Request) skip(p []byte, n int) int {
	if r.head.begun() {
		return n // in the middle of a header
	}
	left, limit := r.left, r.bulkLimit()
	for left > 0 && n < len(p) && p[n] == '$' {
		size, body := number(p, n+1)
		if body == 0 || int64(size) > limit {
			break
		}
		left--
		end := body + size + 2
		if end > len(p) || string(p[end-2:end]) != "\r\n" {
			r.left, r.body = left, int64(size)
			r.state = requestBody
			return body
		}
		n = end
	}
	r.left = left
	r.next()
	return n
}

// next is for the place behind an argument or the count.
func (r *Request) next() {
	r.state = requestSize
	if r.left == 0 {
		r.state = requestIdle
	}
}

// count judges an ended "*<count>\r\n", in Redis' order.
func (r *Request) count() *ProtocolError {
	v, ok := r.head.number()
	switch {
	case !r.head.cr:
		return errMultibulkString
	case !r.head.lf:
		return errCRLF
	case !ok, v > int64(r.maxArgs()):
		return errMultibulkLength
	case v > int64(r.argsLimit()):
		return errMultibulkAuth
	}
	r.args = int(max(v, 0))
	r.left = r.args
	r.head = header{}
	r.next()
	return nil
}

// size judges an ended "$<size>\r\n", in Redis' order.
func (r *Request) size() *ProtocolError {
	v, ok := r.head.number()
	switch {
	case !r.head.cr:
		return errBulkString
	case r.head.kind != '$':
		return expectedDollar(r.head.kind)
	case !r.head.lf:
		return errCRLF
	case !ok, v < 0, v > r.maxBulk():
		return errBulkLength
	case v > r.bulkLimit():
		return errBulkAuth
	}
	r.body = v
	r.left--
	r.head = header{}
	r.state = requestBody
	return nil
}

func (r *Request) maxArgs() int {
	if r.MaxArgs != 0 {
		return r.MaxArgs
	}
	return DefaultMaxArgs
}

func (r *Request) maxBulk() int64 {
	if r.MaxBulk != 0 {
		return r.MaxBulk
	}
	return DefaultMaxBulk
}

// argsLimit and bulkLimit are the limits in force.
func (r *Request) argsLimit() int {
	if r.unauthenticated {
		return min(unauthenticatedArgs, r.maxArgs())
	}
	return r.maxArgs()
}

func (r *Request) bulkLimit() int64 {
	if r.unauthenticated {
		return min(unauthenticatedBulk, r.maxBulk())
	}
	return r.maxBulk()
}

// readLine reads on in an inline request, which a LF ends. Redis looks for that
// LF with strchr: after a NUL it finds none, and waits until the line is too big.
func (r *Request) readLine(p []byte) (n int, err *ProtocolError) {
	for n < len(p) {
		c := p[n]
		n++
		if c == '\n' && r.quote != afterNUL {
			if r.quote.open() {
				return n, errQuotes
			}
			r.state = requestIdle
			return n, nil
		}
		if r.line++; r.line > maxInline {
			return n, errInline
		}
		was := r.quote
		if r.quote = was.next(c); was == between && r.quote != between {
			r.args++
		}
	}
	return n, nil
}

// Unauthenticated puts the limits in force that Redis has for a client which has
// yet to authenticate: 10 arguments of 16384 bytes.
func (r *Request) Unauthenticated(on bool) { r.unauthenticated = on }

// Empty says that the request which just ended has no arguments: an empty line,
// "*0", "*-1". Redis ignores it and sends no reply.
func (r *Request) Empty() bool { return r.args == 0 }

// Inline says whether the current or just ended request is an inline one.
func (r *Request) Inline() bool { return r.inline }

// Args is the number of arguments that the current or just ended multibulk
// request announced; of an inline one, those seen so far.
func (r *Request) Args() int { return r.args }

// Pending says that a request has begun and not ended.
func (r *Request) Pending() bool {
	return r.state != requestIdle && r.state != requestBroken
}

// smallestArgument is "$0\r\n\r\n".
const smallestArgument = 6

// Need is a lower bound of the bytes still missing from the current request, 0
// if nothing can be said. It is what the client announced, gigabytes perhaps, and
// not to be reserved unchecked.
func (r *Request) Need() int64 {
	rest := smallestArgument * int64(r.left)
	switch r.state {
	case requestSize:
		switch {
		case r.head.cr:
			return rest - smallestArgument + 3
		case r.head.begun():
			return rest - smallestArgument + 4
		}
		return rest
	case requestBody:
		return r.body + 2 + rest
	case requestCR:
		return 2 + rest
	case requestLF:
		return 1 + rest
	}
	return 0
}
