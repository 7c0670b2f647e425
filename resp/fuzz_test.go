package resp

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

// in3 is p cut at two places, wherever the fuzzer says.
func in3(p []byte, a, b uint16) [][]byte {
	i := int(a) % (len(p) + 1)
	j := i + int(b)%(len(p)-i+1)
	return [][]byte{p[:i], p[i:j], p[j:]}
}

// How the bytes of requests are cut never matters.
func FuzzRequestSplit(f *testing.F) {
	for _, c := range append(append(requestCases, laxCases...), unauthenticatedCases...) {
		f.Add([]byte(c.in), uint16(1), uint16(3), false)
		f.Add([]byte(c.in), uint16(4), uint16(2), true)
	}
	f.Fuzz(func(t *testing.T, p []byte, a, b uint16, unauthenticated bool) {
		var r Request
		r.Unauthenticated(unauthenticated)
		want := scanRequests(t, r, p)
		for _, pieces := range [][][]byte{in3(p, a, b), chunks(p, 1)} {
			if o := scanRequests(t, r, pieces...); !reflect.DeepEqual(o, want) {
				t.Fatalf("%q: %+v, whole %+v", pieces, o, want)
			}
		}
		Args(nil, p) // no panic on anything
		Name(p)
	})
}

// How the bytes of replies are cut never matters.
func FuzzReplySplit(f *testing.F) {
	for _, c := range replies {
		f.Add([]byte(c.in), uint16(1), uint16(3))
		f.Add([]byte(c.in+c.in[:1]), uint16(2), uint16(5))
	}
	for _, in := range []string{"$-2\r\n", "*1099511627775\r\n*2\r\n", "%549755813888\r\n", "$1\r\nab\r\n", "+a\nb\rc\r\n", "*?\r\n"} {
		f.Add([]byte(in), uint16(1), uint16(1))
	}
	f.Fuzz(func(t *testing.T, p []byte, a, b uint16) {
		want := scanReplies(t, p)
		for _, pieces := range [][][]byte{in3(p, a, b), chunks(p, 1)} {
			if o := scanReplies(t, pieces...); !reflect.DeepEqual(o, want) {
				t.Fatalf("%q: %+v, whole %+v", pieces, o, want)
			}
		}
		for range Elements(p) { // no panic on anything
		}
		String(p)
		Int(p)
	})
}

// redconRequest is redcon's reading of the request that p begins with. Sane is
// false where it panics, as it does on some negative lengths.
func redconRequest(p []byte) (args [][]byte, n int, complete, sane bool) {
	defer func() { recover() }()
	complete, args, _, rest, _ := redcon.ReadNextCommand(p, nil)
	return args, len(p) - len(rest), complete, true
}

// Requests end where redcon has them end, and have the same arguments.
func FuzzRequestRedcon(f *testing.F) {
	for _, c := range append(requestCases, laxCases...) {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 || p[0] == '$' { // redcon's "native" protocol
			return
		}
		if p[0] != '*' && bytes.ContainsAny(p, "\x00\t\v\f\r\"'\\") {
			return // redcon knows no white space but ' ', and quotes otherwise
		}
		var r Request
		n, done, err := r.Scan(p)
		args, redconN, complete, sane := redconRequest(p)
		switch {
		case !sane:
			return
		case done && r.Empty() && p[0] == '*':
			return // *-1, which redcon refuses
		case complete && (err == errMultibulkLength || err == errBulkLength):
			return // redcon takes "", "-", "01" and what overflows for numbers
		case done != complete || done && n != redconN:
			t.Fatalf("%q: n %d, done %v, err %v; redcon n %d, complete %v", p, n, done, err, redconN, complete)
		case done:
			if got := Args(nil, p[:n]); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", args) {
				t.Fatalf("%q: %q, redcon %q", p, got, args)
			}
		}
	})
}

// redconReply is the length of the RESP2 reply that p begins with, by redcon.
// Sane is false where it panics, as it does on lengths that overflow.
func redconReply(p []byte) (n int, sane bool) {
	defer func() { recover() }()
	n, _ = redcon.ReadNextRESP(p)
	return n, true
}

var integer = regexp.MustCompile(`^:-?[0-9]+\r\n$`)

// redconKnows says whether frame is RESP2 as redcon reads it: it ends a line at
// the first LF, and looks into integers.
func redconKnows(frame []byte) bool {
	switch frame[0] {
	case '+', '-':
		return bytes.IndexByte(frame, '\n') == len(frame)-1
	case ':':
		return integer.Match(frame)
	case '$':
		return true
	case '*':
		for e := range Elements(frame) {
			if !redconKnows(e) {
				return false
			}
		}
		return true
	}
	return false
}

// RESP2 replies end where redcon has them end.
func FuzzReplyRedcon(f *testing.F) {
	for _, c := range replies {
		f.Add([]byte(c.in))
	}
	for _, in := range []string{"*-5\r\n", "$-5\r\n", "$+1\r\na\r\n", "*01\r\n:1\r\n", ":x\r\n", "$9223372036854775807\r\n\r\n"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Reply
		n, done, err := r.Scan(p)
		redconN, sane := redconReply(p)
		switch {
		case !sane:
			return
		case redconN > 0 && err != nil && strings.Contains(err.Error(), " after "):
			return // redcon takes "+1" and "01" for numbers, and any negative one for null
		case redconN > 0 && !(done && n == redconN), redconN == 0 && done && redconKnows(p[:n]):
			t.Fatalf("%q: n %d, done %v, err %v; redcon %d", p, n, done, err, redconN)
		}
	})
}

// maker makes a valid RESP3 value of whatever bytes it is given.
type maker struct{ from []byte }

func (m *maker) next() int {
	if len(m.from) == 0 {
		return 0
	}
	c := m.from[0]
	m.from = m.from[1:]
	return int(c)
}

// take is up to n of the bytes themselves.
func (m *maker) take(n int) []byte {
	n = min(n, len(m.from))
	p := m.from[:n]
	m.from = m.from[n:]
	return p
}

// line is like take, but with CR or LF alone.
func (m *maker) line() []byte {
	size := m.next() % 40
	replaced := "\r\n"[size%2 : size%2+1]
	return bytes.TrimSuffix(bytes.ReplaceAll(m.take(size), []byte(replaced), nil), []byte("\r"))
}

// value appends a value, and says its type.
func (m *maker) value(p []byte, depth int) (_ []byte, kind byte) {
	const kinds = "+-:_#,($=!" + "*~>%|" + "NM"
	kind = kinds[m.next()%len(kinds)]
	switch class := classes[kind]; {
	case kind == 'N':
		return append(p, "$-1\r\n"...), '$'
	case kind == 'M':
		return append(p, "*-1\r\n"...), '*'
	case class == text:
		return fmt.Appendf(p, "%c%s\r\n", kind, m.line()), kind
	case class == bulk:
		body := m.take(m.next() * m.next() % 5000)
		return fmt.Appendf(p, "%c%d\r\n%s\r\n", kind, len(body), body), kind
	}
	count := m.next() % 13
	if depth == 0 || len(m.from) == 0 {
		count = 0
	}
	p = fmt.Appendf(p, "%c%d\r\n", kind, count)
	if kind == '%' || kind == '|' {
		count *= 2
	}
	for range count {
		p, _ = m.value(p, depth-1)
	}
	if kind == '|' {
		return m.value(p, depth)
	}
	return p, kind
}

// The end of a valid RESP3 reply is found exactly, whatever follows it.
func FuzzReplyValid(f *testing.F) {
	f.Add([]byte("\x0a\x03\x02\x00\x05hello\x0b\x01"), []byte("+OK\r\n"), uint16(1), uint16(9))
	f.Add([]byte("\x0e\x01\x00\x03abc\x00\x03abc\x0d\x02\x07\xff\x01abcdefghijk"), []byte("$"), uint16(3), uint16(4))
	f.Add([]byte("\x0a\x0c\x0f\x10\x0f\x10\x0f\x10\x0a\x00\x0b\x00\x0c\x00"), []byte("x"), uint16(2), uint16(30))
	f.Fuzz(func(t *testing.T, from, tail []byte, a, b uint16) {
		m := maker{from}
		value, kind := m.value(nil, 6)
		var r Reply
		n, done, err := r.Scan(append(value[:len(value):len(value)], tail...))
		if n != len(value) || !done || err != nil || r.Type() != kind {
			t.Fatalf("%q of %d bytes: n %d, done %v, err %v, type %q", value, len(value), n, done, err, r.Type())
		}
		want := outcome{ends: []string{fmt.Sprintf("%c %q", kind, value)}}
		for _, pieces := range [][][]byte{in3(value, a, b), chunks(value, 1)} {
			if o := scanReplies(t, pieces...); !reflect.DeepEqual(o, want) {
				t.Fatalf("%q: %+v", pieces, o)
			}
		}
	})
}
