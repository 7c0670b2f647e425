//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// A reply is compared in full up to headLen bytes, which covers small values;
// of a longer one the first headLen and the last tailLen bytes are compared
// and the rest is only counted, or the comparison would cost what moving the
// bytes costs.
const (
	headLen = 96
	tailLen = 32
)

// script is what connections ask, key after key round and round, and what must
// come back. It is read-only once made, so all connections share it.
type script struct {
	keys      int
	requests  []byte // of key 0, 1, ... keys-1, 0, 1, ...: a batch is one piece of it
	requestAt int    // bytes of one request
	replies   []expected
	replySize int // bytes of one reply
}

// expected is one known reply.
type expected struct{ head, tail []byte }

// cursor is where a connection is in its stream of replies.
type cursor struct {
	key int // whose reply comes next or has begun
	off int // bytes of it that have come
}

// keyName and valueOf are the data set. The name has a fixed width, so that
// all requests of a script are of one length.
func keyName(size, key int) string { return fmt.Sprintf("bench:%d:%03d", size, key) }

// valueOf makes a value in which every eight bytes name the key and their own
// place: a reply to somebody else's question, or one with a gap, is noticed.
func valueOf(size, key int) []byte {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, size+8)
	for i := 0; len(b) < size; i++ {
		b = append(b, hex[key>>8&15], hex[key>>4&15], hex[key&15],
			hex[i>>16&15], hex[i>>12&15], hex[i>>8&15], hex[i>>4&15], hex[i&15])
	}
	return b[:size]
}

// keysFor bounds the data set to a few MiB per size.
func keysFor(size int) int {
	if size <= 1<<10 {
		return 256
	}
	return 16
}

// newScript asks for (GET) or stores (SET) values of size bytes in batches of
// up to pipeline requests.
func newScript(command string, size, pipeline int) *script {
	s := &script{keys: keysFor(size)}
	for i := range s.keys + pipeline {
		request, reply := question(command, size, i%s.keys)
		s.requests = append(s.requests, request...)
		s.requestAt = len(request)
		if i < s.keys {
			s.replySize = len(reply)
			s.replies = append(s.replies, expect(reply))
		}
	}
	return s
}

// question is one request and the whole of its reply.
func question(command string, size, key int) (request, reply []byte) {
	value := valueOf(size, key)
	if command == "SET" {
		return encode("SET", keyName(size, key), string(value)), []byte("+OK\r\n")
	}
	reply = fmt.Appendf(nil, "$%d\r\n%s\r\n", size, value)
	return encode("GET", keyName(size, key)), reply
}

func expect(reply []byte) expected {
	if len(reply) <= headLen {
		return expected{head: reply}
	}
	return expected{
		head: bytes.Clone(reply[:headLen]),
		tail: bytes.Clone(reply[max(headLen, len(reply)-tailLen):]),
	}
}

// encode writes a command as clients send it.
func encode(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(a)), 10)
		b = append(b, "\r\n"...)
		b = append(b, a...)
		b = append(b, "\r\n"...)
	}
	return b
}

// batch is n requests (at most the pipeline of newScript) beginning with key.
func (s *script) batch(key, n int) []byte {
	return s.requests[key*s.requestAt : (key+n)*s.requestAt]
}

// match checks the next bytes of a connection that is owed that many replies.
// It counts the replies that p completes; ok is false as soon as a byte is not
// the one that had to come, or when a reply comes that nobody asked for.
func (s *script) match(c *cursor, p []byte, owed int) (done int, ok bool) {
	for len(p) > 0 {
		if done == owed {
			return done, false
		}
		n := min(len(p), s.replySize-c.off)
		if !s.replies[c.key].agrees(p[:n], c.off, s.replySize) {
			return done, false
		}
		p = p[n:]
		c.off += n
		if c.off == s.replySize {
			c.off = 0
			if c.key++; c.key == s.keys {
				c.key = 0
			}
			done++
		}
	}
	return done, true
}

// agrees compares the part of a reply that begins at off with what is known of
// it; the part does not go beyond the reply's end.
func (e *expected) agrees(part []byte, off, size int) bool {
	if off < len(e.head) {
		known := e.head[off:]
		n := min(len(known), len(part))
		if !bytes.Equal(part[:n], known[:n]) {
			return false
		}
	}
	tailAt := size - len(e.tail)
	from, to := max(off, tailAt), off+len(part)
	return to <= from || bytes.Equal(part[from-off:], e.tail[from-tailAt:to-tailAt])
}
