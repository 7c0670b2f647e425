//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
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

// script is what connections ask, step after step round and round, and what
// must come back. It is read-only once made, so all connections share it.
type script struct {
	steps    int
	requests []byte // of step 0, 1, ... steps-1, 0, 1, ...: a batch is one piece of it
	starts   []int  // where in requests each begins, and behind the last where that ends
	replies  []expected
}

// expected is one known reply.
type expected struct {
	head, tail []byte
	size       int
}

// cursor is where a connection is in its stream of replies.
type cursor struct {
	step int // whose reply comes next or has begun
	off  int // bytes of it that have come
}

// keyName and valueOf are the data set.
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

// script asks for (GET) or stores (SET) one key after the other, in batches of
// up to c.pipeline requests.
func (c class) script() *script {
	s := &script{steps: keysFor(c.size)}
	for i := range s.steps + c.pipeline {
		request, reply := c.step(i % s.steps)
		s.starts = append(s.starts, len(s.requests))
		s.requests = append(s.requests, request...)
		if i < s.steps {
			s.replies = append(s.replies, expect(reply))
		}
	}
	s.starts = append(s.starts, len(s.requests))
	return s
}

// step is one request and the whole of its reply.
func (c class) step(key int) (request, reply []byte) {
	switch {
	case c.command == "SET":
		return setting(c.size, key)
	case c.command == mixed && key%10 == 3:
		return transaction(c.size, key)
	case c.command == mixed && key%10 == 7:
		return blocking()
	case c.constant:
		request, _ = getting(c.size, key)
		_, reply = getting(c.size, 0)
		return request, reply
	}
	return getting(c.size, key)
}

func getting(size, key int) (request, reply []byte) {
	return encode("GET", keyName(size, key)), fmt.Appendf(nil, "$%d\r\n%s\r\n", size, valueOf(size, key))
}

func setting(size, key int) (request, reply []byte) {
	return encode("SET", keyName(size, key), string(valueOf(size, key))), []byte("+OK\r\n")
}

// transaction leaves in one write, as client libraries send one.
func transaction(size, key int) (request, reply []byte) {
	get, value := getting(size, key)
	request = slices.Concat(encode("MULTI"), get, encode("EXEC"))
	return request, slices.Concat([]byte("+OK\r\n+QUEUED\r\n*1\r\n"), value)
}

const (
	listName = "bench:list"
	listItem = "item"
)

// blocking turns a list of one element round: a command that may block but,
// since the list never becomes empty, has one answer for everybody.
func blocking() (request, reply []byte) {
	return encode("BLMOVE", listName, listName, "LEFT", "RIGHT", "1"), fmt.Appendf(nil, "$%d\r\n%s\r\n", len(listItem), listItem)
}

// stores are the requests that bring in what a class asks for, each with its
// reply.
func (c class) stores() [][2][]byte {
	var all [][2][]byte
	for key := range keysFor(c.size) {
		request, reply := setting(c.size, key)
		all = append(all, [2][]byte{request, reply})
	}
	if c.command == mixed {
		all = append(all, [2][]byte{encode("RPUSH", listName, listItem), []byte(":1\r\n")})
	}
	return all
}

func expect(reply []byte) expected {
	if len(reply) <= headLen {
		return expected{head: reply, size: len(reply)}
	}
	return expected{
		head: bytes.Clone(reply[:headLen]),
		tail: bytes.Clone(reply[max(headLen, len(reply)-tailLen):]),
		size: len(reply),
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

// batch is n requests (at most the pipeline of the class) beginning with step.
func (s *script) batch(step, n int) []byte {
	return s.requests[s.starts[step]:s.starts[step+n]]
}

// match checks the next bytes of a connection that is owed that many replies.
// It counts the replies that p completes; ok is false as soon as a byte is not
// the one that had to come, or when a reply comes that nobody asked for.
func (s *script) match(c *cursor, p []byte, owed int) (done int, ok bool) {
	for len(p) > 0 {
		if done == owed {
			return done, false
		}
		e := &s.replies[c.step]
		n := min(len(p), e.size-c.off)
		if !e.agrees(p[:n], c.off) {
			return done, false
		}
		p = p[n:]
		c.off += n
		if c.off == e.size {
			c.off = 0
			if c.step++; c.step == s.steps {
				c.step = 0
			}
			done++
		}
	}
	return done, true
}

// agrees compares the part of a reply that begins at off with what is known of
// it; the part does not go beyond the reply's end.
func (e *expected) agrees(part []byte, off int) bool {
	if off < len(e.head) {
		known := e.head[off:]
		n := min(len(known), len(part))
		if !bytes.Equal(part[:n], known[:n]) {
			return false
		}
	}
	tailAt := e.size - len(e.tail)
	from, to := max(off, tailAt), off+len(part)
	return to <= from || bytes.Equal(part[from-off:], e.tail[from-tailAt:to-tailAt])
}
