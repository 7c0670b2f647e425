package resp

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
)

// outcome is all that a scanner says about some bytes, however they were cut.
type outcome struct {
	ends    []string // each frame, with what was said about it
	err     string   // the error's whole text
	pending bool
}

// scanRequests feeds the pieces to one Request and checks on the way what must
// hold after each call.
func scanRequests(t testing.TB, r Request, pieces ...[]byte) (o outcome) {
	t.Helper()
	var at, begun, promised int // offsets: now, of the current request, of its earliest end
	all := bytes.Join(pieces, nil)
	for _, p := range pieces {
		for len(p) > 0 {
			n, done, err := r.Scan(p)
			at += n
			if err != nil {
				o.err = errorText(t, err)
				if _, _, again := r.Scan([]byte("*1\r\n")); again != err {
					t.Fatalf("after %v: %v", err, again)
				}
				return o
			}
			if !done && n != len(p) || done && r.Pending() || !done && !r.Pending() {
				t.Fatalf("%q: n %d, done %v, pending %v", p, n, done, r.Pending())
			}
			if !done {
				promised = max(promised, at+int(min(r.Need(), 1<<40)))
				break
			}
			if r.Need() != 0 || at < promised {
				t.Fatalf("%q: %d bytes were promised, it ended after %d", all, promised, at)
			}
			frame := all[begun:at]
			o.ends = append(o.ends, fmt.Sprintf("%q %d empty=%v inline=%v", frame, r.Args(), r.Empty(), r.Inline()))
			checkArgs(t, frame, r.Args())
			begun, promised = at, 0
			p = p[n:]
		}
	}
	o.pending = r.Pending()
	return o
}

// checkArgs checks that what looks into a request sees what the scanner counted.
func checkArgs(t testing.TB, frame []byte, count int) {
	t.Helper()
	args := Args(nil, frame)
	if len(args) != count {
		t.Fatalf("%q: %d arguments counted, %q read", frame, count, args)
	}
	if name := Name(frame); count == 0 && name != nil || count > 0 && (name == nil || !bytes.Equal(name, args[0])) {
		t.Fatalf("%q: name %q, arguments %q", frame, name, args)
	}
}

func errorText(t testing.TB, err error) string {
	t.Helper()
	var pe *ProtocolError
	if !errors.As(err, &pe) {
		t.Fatalf("%T: %v", err, err)
	}
	if pe.Text() != "-ERR "+err.Error()+"\r\n" {
		t.Fatalf("text %q, error %q", pe.Text(), err)
	}
	return pe.Text()
}

// cuts are the ways to feed p: whole, byte by byte, and cut once at each place.
func cuts(p []byte) iter.Seq[[][]byte] {
	return func(yield func([][]byte) bool) {
		if !yield([][]byte{p}) || !yield(chunks(p, 1)) {
			return
		}
		for i := range p {
			if !yield([][]byte{p[:i], p[i:]}) {
				return
			}
		}
	}
}

func chunks(p []byte, size int) (pieces [][]byte) {
	for ; len(p) > size; p = p[size:] {
		pieces = append(pieces, p[:size])
	}
	return append(pieces, p)
}

// requestCase is some bytes and what Redis makes of them.
type requestCase struct {
	in   string
	ends []int  // number of arguments of each request; -1 has none and gets no reply
	err  string // without "-ERR Protocol error: "
	open bool   // more is awaited
}

var requestCases = []requestCase{
	{in: ""},
	{in: "*1\r\n$4\r\nPING\r\n", ends: []int{1}},
	{in: "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", ends: []int{2}},
	{in: "*2\r\n$4\r\nECHO\r\n$12\r\nab\r\n$1\r\nc*1\r\r\n", ends: []int{2}},
	{in: "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\nPING\r\n\r\n*0\r\nPING\r\n", ends: []int{1, 1, 1, -1, -1, 1}},
	{in: "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPIN", ends: []int{1}, open: true},
	{in: "*11\r\n" + strings.Repeat("$1\r\nx\r\n", 11), ends: []int{11}},
	{in: "*2\r\n$4\r\nECHO\r\n$120\r\n" + strings.Repeat("x", 120) + "\r\n", ends: []int{2}},

	// no arguments
	{in: "*0\r\n", ends: []int{-1}},
	{in: "*-1\r\n", ends: []int{-1}},
	{in: "*-10\r\n", ends: []int{-1}},
	{in: "*-9223372036854775808\r\n", ends: []int{-1}},
	{in: "\r\n", ends: []int{-1}},
	{in: "\n \n\t\v\f\r\r\n", ends: []int{-1, -1, -1}},

	// counts
	{in: "*", open: true},
	{in: "*1\r", open: true},
	{in: "*\r\n", err: "invalid multibulk length"},
	{in: "*-\r\n", err: "invalid multibulk length"},
	{in: "*-0\r\n", err: "invalid multibulk length"},
	{in: "*00\r\n", err: "invalid multibulk length"},
	{in: "*01\r\n", err: "invalid multibulk length"},
	{in: "*-01\r\n", err: "invalid multibulk length"},
	{in: "*+1\r\n", err: "invalid multibulk length"},
	{in: "* 1\r\n", err: "invalid multibulk length"},
	{in: "*1 \r\n", err: "invalid multibulk length"},
	{in: "*1\n\r\n", err: "invalid multibulk length"},
	{in: "*1a\r\n", err: "invalid multibulk length"},
	{in: "*1-\r\n", err: "invalid multibulk length"},
	{in: "*2147483647\r\n", open: true},
	{in: "*2147483648\r\n", err: "invalid multibulk length"},
	{in: "*9223372036854775807\r\n", err: "invalid multibulk length"},
	{in: "*9223372036854775808\r\n", err: "invalid multibulk length"},
	{in: "*18446744073709551617\r\n", err: "invalid multibulk length"},
	{in: "*-9223372036854775809\r\n", err: "invalid multibulk length"},
	{in: "*100000000000000000000000000000000000001\r\n", err: "invalid multibulk length"},

	// what should be a '$'
	{in: "*1\r\nPING\r\n", err: "expected '$', got 'P'"},
	{in: "*1\r\n*1\r\n", err: "expected '$', got '*'"},
	{in: "*1\r\n4\r\nPING\r\n", err: "expected '$', got '4'"},
	{in: "*1\r\n\r\n", err: "expected '$', got ' '"},
	{in: "*1\r\n\r$1\r\nx\r\n", err: "expected '$', got ' '"},
	{in: "*1\r\n\n\r\n", err: "expected '$', got ' '"},
	{in: "*1\r\n\xff\r\n", err: "expected '$', got '\xff'"},
	{in: "*2\r\n$4\r\nECHO\r\n:1\r\n", err: "expected '$', got ':'"},
	{in: "*1\r\nP", open: true},

	// sizes
	{in: "*1\r\n$", open: true},
	{in: "*1\r\n$4\r", open: true},
	{in: "*1\r\n$4\r\n", open: true},
	{in: "*1\r\n$4\r\nPING", open: true},
	{in: "*1\r\n$4\r\nPING\r", open: true},
	{in: "*1\r\n$\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$-1\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$04\r\nPING\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$4x\r\nPING\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$536870912\r\n", open: true},
	{in: "*1\r\n$536870913\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$9223372036854775807\r\n", err: "invalid bulk length"},
	{in: "*2\r\n$4\r\nECHO\r\n$99999999999999999999\r\n", err: "invalid bulk length"},

	// inline
	{in: "PING\r\n", ends: []int{1}},
	{in: "PING\nPING\r\n", ends: []int{1, 1}},
	{in: " \tPING  x\ty\r\n", ends: []int{3}},
	{in: "$1\r\n", ends: []int{1}},
	{in: "PI\vNG\r\n", ends: []int{1}},
	{in: "\vPING\f\r\n", ends: []int{1}},
	{in: "PI\rNG\r\n", ends: []int{2}},
	{in: "\"PING\"\v\r\n", ends: []int{1}},
	{in: "\"\" x\r\n", ends: []int{2}},
	{in: "ECHO \"a b\\\"c\\\\\" 'd \\' \\\\ '\r\n", ends: []int{3}},
	{in: "ECHO x\"a b\" y'c d'\r\n", ends: []int{3}},
	{in: "ECHO \"\\x41\\xZZ\\n\"\r\n", ends: []int{2}},
	{in: "PING", open: true},
	{in: "\"PING\"", open: true},
	{in: "\"PING\"x", open: true},
	{in: "PING\x00\r\nPING\r\n", open: true},
	{in: "\"PING\r\n", err: "unbalanced quotes in request"},
	{in: "'PING\r\n", err: "unbalanced quotes in request"},
	{in: "\"PING\\\r\n", err: "unbalanced quotes in request"},
	{in: "\"PING\\\"\r\n", err: "unbalanced quotes in request"},
	{in: "'PING\\'\r\n", err: "unbalanced quotes in request"},
	{in: "\"PING\"x\r\n", err: "unbalanced quotes in request"},
	{in: "'PING'\"x\"\r\n", err: "unbalanced quotes in request"},
	{in: "PING\r\nECHO \"\r\n", ends: []int{1}, err: "unbalanced quotes in request"},
}

// laxCases are refused here, in Valkey's words, though Redis takes any bytes for
// a CR LF that it can count on.
var laxCases = []requestCase{
	{in: "*1\rx$4\r\nPING\r\n", err: "invalid CRLF in request"},
	{in: "*1\r\n$4\rxPING\r\n", err: "invalid CRLF in request"},
	{in: "*1\r\n$4\r\nPINGxx", err: "invalid CRLF in request"},
	{in: "*1\r\n$4\r\nPINGx\n", err: "invalid CRLF in request"},
	{in: "*1\r\n$4\r\nPING\rx", err: "invalid CRLF in request"},
	{in: "*1\r\n$4\r\nPINGS\r\n", err: "invalid CRLF in request"},
	{in: "*0\rx", err: "invalid CRLF in request"},
}

var unauthenticatedCases = []requestCase{
	{in: "*10\r\n" + strings.Repeat("$1\r\nx\r\n", 10), ends: []int{10}},
	{in: "*11\r\n", err: "unauthenticated multibulk length"},
	{in: "*2147483648\r\n", err: "invalid multibulk length"},
	{in: "*1\r\n$16384\r\n", open: true},
	{in: "*1\r\n$16385\r\n", err: "unauthenticated bulk length"},
	{in: "*1\r\n$536870913\r\n", err: "invalid bulk length"},
	{in: strings.Repeat("x ", 30) + "\r\n", ends: []int{30}},
}

func (c requestCase) check(t *testing.T, r Request) {
	t.Helper()
	for pieces := range cuts([]byte(c.in)) {
		o := scanRequests(t, r, pieces...)
		var wantErr string
		if c.err != "" {
			wantErr = "-ERR Protocol error: " + c.err + "\r\n"
		}
		if o.err != wantErr || o.pending != c.open || len(o.ends) != len(c.ends) {
			t.Fatalf("%q as %q: %+v", c.in, pieces, o)
		}
		for i, args := range c.ends {
			said := fmt.Sprintf(" %d empty=%v ", max(args, 0), args < 0)
			if !strings.Contains(o.ends[i], said) {
				t.Fatalf("%q as %q: %q, want %s", c.in, pieces, o.ends[i], said)
			}
		}
	}
}

func TestRequest(t *testing.T) {
	for _, c := range requestCases {
		c.check(t, Request{})
	}
	for _, c := range laxCases {
		c.check(t, Request{})
	}
}

func TestRequestUnauthenticated(t *testing.T) {
	var r Request
	r.Unauthenticated(true)
	for _, c := range unauthenticatedCases {
		c.check(t, r)
	}
	r.Unauthenticated(false)
	requestCase{in: "*11\r\n", open: true}.check(t, r)
	requestCase{in: "*1\r\n$16385\r\n", open: true}.check(t, r)
}

func TestRequestLimits(t *testing.T) {
	r := Request{MaxBulk: 5, MaxArgs: 2}
	requestCase{in: "*2\r\n$5\r\n12345\r\n$5\r\n12345\r\n", ends: []int{2}}.check(t, r)
	requestCase{in: "*1\r\n$6\r\n", err: "invalid bulk length"}.check(t, r)
	requestCase{in: "*3\r\n", err: "invalid multibulk length"}.check(t, r)
	r = Request{MaxBulk: 600 << 20}
	requestCase{in: "*1\r\n$629145600\r\n", open: true}.check(t, r)
	requestCase{in: "*1\r\n$629145601\r\n", err: "invalid bulk length"}.check(t, r)
}

// longLines are as long as Redis lets them be, and one byte longer.
func longLines() []requestCase {
	return []requestCase{
		{in: strings.Repeat("x", maxInline) + "\n", ends: []int{1}},
		{in: strings.Repeat("x", maxInline), open: true},
		{in: strings.Repeat("x", maxInline+1), err: "too big inline request"},
		{in: "PING\x00" + strings.Repeat("\n", maxInline), err: "too big inline request"},
		{in: "*" + strings.Repeat("1", maxInline-1), open: true},
		{in: "*" + strings.Repeat("1", maxInline-1) + "\r\n", err: "invalid multibulk length"},
		{in: "*" + strings.Repeat("1", maxInline), err: "too big mbulk count string"},
		{in: "*1\r\n$" + strings.Repeat("1", maxInline-1), open: true},
		{in: "*1\r\n" + strings.Repeat("x", maxInline) + "\r\n", err: "expected '$', got 'x'"},
		{in: "*1\r\n" + strings.Repeat("x", maxInline+1), err: "too big bulk count string"},
		{in: "*1\r\n$" + strings.Repeat("1", maxInline), err: "too big bulk count string"},
	}
}

func TestRequestLongLines(t *testing.T) {
	for _, c := range longLines() {
		want := scanRequests(t, Request{}, []byte(c.in))
		if len(want.ends) != len(c.ends) || want.pending != c.open || !strings.Contains(want.err, c.err) || c.err == "" && want.err != "" {
			t.Errorf("%.20q: %+v", c.in, want)
		}
		for _, size := range []int{1, 7, 4096, maxInline, maxInline + 1, maxInline + 2} {
			if o := scanRequests(t, Request{}, chunks([]byte(c.in), size)...); !reflect.DeepEqual(o, want) {
				t.Errorf("%.20q in pieces of %d: %+v", c.in, size, o)
			}
		}
	}
}

// A frame larger than every buffer is counted, whatever its bytes.
func TestRequestLargerThanBuffer(t *testing.T) {
	var r Request
	if n, done, err := r.Scan([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n")); n == 0 || done || err != nil {
		t.Fatal(n, done, err)
	}
	buffer := bytes.Repeat([]byte("\r\n*$"), 64<<10)
	for left := 400_000_000; left > 0; {
		if want := int64(left + 2); r.Need() != want {
			t.Fatalf("need %d, want %d", r.Need(), want)
		}
		p := buffer[:min(left, len(buffer))]
		n, done, err := r.Scan(p)
		if n != len(p) || done || err != nil {
			t.Fatal(n, done, err)
		}
		left -= n
	}
	if n, done, err := r.Scan([]byte("\r\n*1\r\n")); n != 2 || !done || err != nil {
		t.Fatal(n, done, err)
	}
}

func TestRequestNeed(t *testing.T) {
	for in, want := range map[string]int64{
		"":                               0,
		"*":                              0,
		"*2\r":                           0,
		"*2\r\n":                         12,
		"*2\r\n$":                        10,
		"*2\r\n$5\r":                     9,
		"*2\r\n$5\r\n":                   13,
		"*2\r\n$5\r\n12345":              8,
		"*2\r\n$5\r\n12345\r":            7,
		"*2\r\n$5\r\n12345\r\n":          6,
		"*2\r\n$5\r\n12345\r\n$0\r\n\r":  1,
		"*1\r\n$4\r\nPING\r\n":           0,
		"PING":                           0,
		"*2147483647\r\n$536870912\r\n1": 536870911 + 2 + 6*2147483646,
	} {
		for pieces := range cuts([]byte(in)) {
			var r Request
			for _, p := range pieces {
				r.Scan(p)
			}
			if r.Need() != want {
				t.Errorf("%q: %d, want %d", pieces, r.Need(), want)
			}
		}
	}
}
