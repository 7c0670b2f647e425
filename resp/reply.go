package resp

import (
	"bytes"
	"fmt"
)

// What exceeds these was not meant by any server.
const (
	// maxReply bounds a bulk's length in bytes, and the elements that are missing
	// from one reply: so neither sum can overflow.
	maxReply = 1 << 40
	// maxReplyLine bounds a simple string or error in bytes. MONITOR writes a
	// whole command into one, with up to four bytes for each of its own.
	maxReplyLine = 4 << 30
)

// Reply says where a reply ends: all types of RESP2 and RESP3, nested, empty and
// null ones too, but not the streamed ones of unknown length, which Redis never
// sends. The zero value is ready, and ready again after each reply.
//
// A counter of missing elements stands for the stack of open aggregates: each
// value is one fewer, each aggregate as many more as it announces. An attribute
// announces pairs, but is no value itself: what it describes follows.
//
// A push is a reply here like any other, told apart by its Type.
type Reply struct {
	state   replyState
	kind    byte  // Type
	missing int64 // values, the one being read included
	body    int64 // bytes of the current bulk still to come
	line    int64 // bytes of the current text line so far
	cr      bool  // the last of them is a CR
	head    header
	err     error
}

type replyState uint8

const (
	replyIdle  replyState = iota // between two replies
	replyValue                   // before a value
	replyLine                    // in a line of text
	replyHead                    // in a header line
	replyBody                    // in a bulk's bytes
	replyCR                      // before the CR that ends a bulk
	replyLF                      // before the LF that ends a bulk
	replyBroken
)

// class is how a type's end is found.
type class uint8

const (
	text      class = iota + 1 // at the first CR LF
	bulk                       // by counting bytes
	array                      // by counting elements
	pairs                      // twice as many
	attribute                  // twice as many, and one more value
)

var classes = [256]class{
	'+': text, '-': text, ':': text, '_': text, '#': text, ',': text, '(': text,
	'$': bulk, '=': bulk, '!': bulk,
	'*': array, '~': array, '>': array,
	'%': pairs,
	'|': attribute,
}

// Scan consumes bytes of p up to the end of the current reply. If it is done,
// p[:n] ends it. If not, all of p belongs to it: n is len(p), and the next call
// goes on with the bytes that follow. The error is a *ReplyError and lasts.
func (r *Reply) Scan(p []byte) (n int, done bool, err error) {
	if r.state == replyIdle && len(p) > 0 {
		r.kind, r.missing = 0, 1
		r.state = replyValue
		n = r.skip(p, 0)
		if r.state == replyIdle {
			return n, true, nil
		}
	}
	return r.scan(p, n)
}

// scan goes on with the current reply at p[n:].
func (r *Reply) scan(p []byte, n int) (int, bool, error) {
	for n < len(p) {
		var err *ReplyError
		switch r.state {
		case replyValue:
			n = r.skip(p, n)
			if r.state == replyValue && n < len(p) {
				err = r.begin(p[n])
			}

		case replyLine:
			k, ended := r.readLine(p[n:])
			n += k
			if r.line > maxReplyLine {
				err = errEndless
			} else if ended {
				r.ended()
			}

		case replyHead:
			k, ended := r.head.read(p[n:])
			n += k
			err = r.announced(ended)

		case replyBody:
			k := min(r.body, int64(len(p)-n))
			n += int(k)
			if r.body -= k; r.body == 0 {
				r.state = replyCR
			}

		case replyCR:
			if p[n] != '\r' {
				err = errBulkEnd
			}
			n++
			r.state = replyLF

		case replyLF:
			if p[n] != '\n' {
				err = errBulkEnd
			}
			n++
			r.ended()

		case replyBroken:
			return n, false, r.err
		}
		if err != nil {
			r.state, r.err = replyBroken, err
			return n, false, err
		}
		if r.state == replyIdle {
			return n, true, nil
		}
	}
	return n, false, r.err
}

// skip passes over the values at p[n:] as long as they lie wholly in p and need
// no closer look; it is what nearly every reply consists of. It stops in front
// of a value, behind the header of a bulk (replyBody), or behind the last value
// (replyIdle).
func (r *Reply) skip(p []byte, n int) int {
	for r.state == replyValue && n < len(p) {
		kind := p[n]
		if r.kind == 0 && r.missing == 1 && kind != '|' {
			r.kind = kind
		}
		next := 0
		switch c := classes[kind]; c {
		case text:
			next = n + bytes.IndexByte(p[n:], '\n') + 1
			if next == n || p[next-2] != '\r' || int64(next-n) > maxReplyLine {
				return n
			}
			r.ended()
		case bulk:
			next = r.skipBulk(p, n)
		case array, pairs, attribute:
			next = r.skipCount(p, n, c)
		}
		if next == 0 {
			return n
		}
		n = next
	}
	return n
}

// skipBulk passes over the bulk at p[n:] or, if that is not all there, over its
// header. Next is 0 if it could do neither.
func (r *Reply) skipBulk(p []byte, n int) (next int) {
	size, body := number(p, n+1)
	switch end := body + size + 2; {
	case body == 0 && isNull(p[n:], '$'):
		next = n + nullSize
	case body == 0 || int64(size) > maxReply:
		return 0
	case end > len(p) || string(p[end-2:end]) != "\r\n":
		r.body, r.state = int64(size), replyBody
		return body
	default:
		next = end
	}
	r.ended()
	return next
}

// skipCount passes over the header of an aggregate at p[n:]. Next is 0 if it
// could not.
func (r *Reply) skipCount(p []byte, n int, c class) (next int) {
	count, next := number(p, n+1)
	switch {
	case next == 0 && isNull(p[n:], '*'):
		r.ended()
		return n + nullSize
	case next == 0 || !r.expect(int64(count), c):
		return 0
	}
	return next
}

const nullSize = len("$-1\r\n")

// isNull says whether p begins with RESP2's null of that kind.
func isNull(p []byte, kind byte) bool {
	return len(p) >= nullSize && p[0] == kind && string(p[1:nullSize]) == "-1\r\n"
}

// begin starts a value that skip did not pass over.
func (r *Reply) begin(kind byte) *ReplyError {
	switch classes[kind] {
	case text:
		r.line, r.cr = 0, false
		r.state = replyLine
	case bulk, array, pairs, attribute:
		r.head = header{}
		r.state = replyHead
	default:
		return &ReplyError{fmt.Sprintf("%q begins no reply", kind)}
	}
	return nil
}

// ended takes a value off the missing ones.
func (r *Reply) ended() {
	r.state = replyValue
	if r.missing--; r.missing == 0 {
		r.state = replyIdle
	}
}

// expect adds what an aggregate announced to the missing values and takes the
// aggregate off; false if that would be absurdly many.
func (r *Reply) expect(count int64, c class) bool {
	if c != array {
		if count > maxReply {
			return false
		}
		count *= 2
	}
	if count > maxReply-r.missing {
		return false
	}
	r.missing += count
	if c == attribute {
		r.state = replyValue
	} else {
		r.ended()
	}
	return true
}

// readLine reads on in a line of text. A CR or LF alone does not end it.
func (r *Reply) readLine(p []byte) (n int, ended bool) {
	for n < len(p) && !ended {
		end := bytes.IndexByte(p[n:], '\n')
		if end < 0 {
			r.cr = p[len(p)-1] == '\r'
			n = len(p)
			break
		}
		if end > 0 {
			r.cr = p[n+end-1] == '\r'
		}
		ended = r.cr
		n += end + 1
	}
	r.line += int64(n)
	return n, ended
}

// announced judges a header line, which may not have ended yet.
func (r *Reply) announced(ended bool) *ReplyError {
	kind := r.head.kind
	v, ok := r.head.number()
	switch {
	case !ended && !r.head.bad:
		return nil
	case !ok:
		return &ReplyError{fmt.Sprintf("no number after %q", kind)}
	case !r.head.lf:
		return errLineEnd
	case v == -1 && (kind == '$' || kind == '*'):
		r.ended()
		return nil
	case v < 0:
		return &ReplyError{fmt.Sprintf("%d after %q", v, kind)}
	}
	if c := classes[kind]; c == bulk && v <= maxReply {
		r.body = v
		r.state = replyBody
	} else if c == bulk || !r.expect(v, c) {
		return &ReplyError{fmt.Sprintf("absurd %d after %q", v, kind)}
	}
	return nil
}

// Type is the first byte of the current or just ended reply: '+', '-', ':', '$',
// '*', '>' and so on. Attributes in front of it do not count: Type is 0 while
// only they were seen.
func (r *Reply) Type() byte { return r.kind }

// Pending says that a reply has begun and not ended.
func (r *Reply) Pending() bool {
	return r.state != replyIdle && r.state != replyBroken
}

// smallestValue is "_\r\n".
const smallestValue = 3

// Need is a lower bound of the bytes still missing from the current reply, 0 if
// nothing can be said. It is what the server announced and not to be reserved
// unchecked.
func (r *Reply) Need() int64 {
	rest := smallestValue * (r.missing - 1)
	switch r.state {
	case replyValue:
		return smallestValue + rest
	case replyLine, replyHead:
		return 1 + rest
	case replyBody:
		return r.body + 2 + rest
	case replyCR:
		return 2 + rest
	case replyLF:
		return 1 + rest
	}
	return 0
}
