package resp

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// scanReplies feeds the pieces to one Reply and checks on the way what must hold
// after each call.
func scanReplies(t testing.TB, pieces ...[]byte) (o outcome) {
	t.Helper()
	var r Reply
	var at, begun, promised int // offsets: now, of the current reply, of its earliest end
	all := bytes.Join(pieces, nil)
	for _, p := range pieces {
		for len(p) > 0 {
			n, done, err := r.Scan(p)
			at += n
			if err != nil {
				var re *ReplyError
				if !errors.As(err, &re) {
					t.Fatalf("%T: %v", err, err)
				}
				if _, _, again := r.Scan([]byte("+OK\r\n")); again != err {
					t.Fatalf("after %v: %v", err, again)
				}
				o.err = err.Error()
				return o
			}
			if !done && n != len(p) || done == r.Pending() {
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
			o.ends = append(o.ends, fmt.Sprintf("%c %q", r.Type(), frame))
			checkValue(t, frame, r.Type())
			begun, promised = at, 0
			p = p[n:]
		}
	}
	o.pending = r.Pending()
	return o
}

// checkValue checks that what looks into a reply sees all that was scanned.
func checkValue(t testing.TB, frame []byte, kind byte) {
	t.Helper()
	value := withoutAttributes(frame)
	if len(value) == 0 || value[0] != kind {
		t.Fatalf("%q: type %q, value %q", frame, kind, value)
	}
	_, isInt := Int(frame)
	if _, isString := String(frame); isString && isInt || isInt && kind != ':' {
		t.Fatalf("%q: string %v, int %v", frame, isString, isInt)
	}
	size := 0
	for e := range Elements(frame) {
		size += len(e)
	}
	if header := bytes.IndexByte(value, '\n') + 1; size > 0 && header+size != len(value) {
		t.Fatalf("%q: elements of %d bytes", frame, size)
	}
}

// replies are each one reply, by its type.
var replies = []struct {
	kind byte
	in   string
}{
	// RESP2
	{'+', "+OK\r\n"},
	{'+', "+\r\n"},
	{'+', "+a\rb\nc\n\rd\r\r\n"},
	{'-', "-ERR no\r\n"},
	{':', ":-9223372036854775808\r\n"},
	{'$', "$0\r\n\r\n"},
	{'$', "$5\r\nhello\r\n"},
	{'$', "$4\r\n\r\n\r\n\r\n"},
	{'$', "$11\r\n$5\r\nhello\r\n\r\n"},
	{'$', "$123\r\n" + strings.Repeat("x", 123) + "\r\n"},
	{'$', "$-1\r\n"},
	{'*', "*0\r\n"},
	{'*', "*-1\r\n"},
	{'*', "*2\r\n$-1\r\n*-1\r\n"},
	{'*', "*1\r\n*1\r\n*1\r\n*0\r\n"},
	{'*', "*3\r\n*2\r\n:1\r\n+a\r\n*0\r\n$1\r\nx\r\n"},
	{'*', "*11\r\n" + strings.Repeat(":1\r\n", 11)},

	// RESP3
	{'_', "_\r\n"},
	{'#', "#t\r\n"},
	{',', ",3.141\r\n"},
	{',', ",-inf\r\n"},
	{'(', "(1234567999999999999999999999999999999\r\n"},
	{'!', "!7\r\nERR\r\nno\r\n"},
	{'=', "=8\r\ntxt:\r\n\r\n\r\n"},
	{'~', "~2\r\n_\r\n#f\r\n"},
	{'>', ">2\r\n$10\r\ninvalidate\r\n_\r\n"},
	{'%', "%0\r\n"},
	{'%', "%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%1\r\n+c\r\n~0\r\n"},
	{'+', "|1\r\n+ttl\r\n:60\r\n+OK\r\n"},
	{'*', "|0\r\n*0\r\n"},
	{':', "|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n|1\r\n+b\r\n+c\r\n:3\r\n"},
	{'*', "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n"},
	{'%', "%1\r\n|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n+d\r\n+e\r\n|2\r\n+f\r\n+g\r\n+h\r\n+i\r\n+j\r\n"},
}

func TestReply(t *testing.T) {
	for _, c := range replies {
		want := outcome{ends: []string{fmt.Sprintf("%c %q", c.kind, c.in)}}
		for pieces := range cuts([]byte(c.in)) {
			if o := scanReplies(t, pieces...); !reflect.DeepEqual(o, want) {
				t.Fatalf("%q as %q: %+v", c.in, pieces, o)
			}
		}
		for i := 1; i < len(c.in); i++ {
			if o := scanReplies(t, []byte(c.in[:i])); !o.pending || o.ends != nil {
				t.Fatalf("%q: %+v", c.in[:i], o)
			}
		}
	}
}

// Replies follow each other without a gap, and each is told apart.
func TestReplies(t *testing.T) {
	var all []byte
	var want outcome
	for _, c := range replies {
		all = append(all, c.in...)
		want.ends = append(want.ends, fmt.Sprintf("%c %q", c.kind, c.in))
	}
	for pieces := range cuts(all) {
		if o := scanReplies(t, pieces...); !reflect.DeepEqual(o, want) {
			t.Fatalf("%q: %+v", pieces, o)
		}
	}
}

func TestReplyMalformed(t *testing.T) {
	for in, want := range map[string]string{
		"x":                               `malformed reply: 'x' begins no reply`,
		"\r\n":                            `malformed reply: '\r' begins no reply`,
		";4\r\n":                          `malformed reply: ';' begins no reply`,
		"*1\r\nx":                         `malformed reply: 'x' begins no reply`,
		"$\r\n":                           `malformed reply: no number after '$'`,
		"$-\r\n":                          `malformed reply: no number after '$'`,
		"$?\r\n":                          `malformed reply: no number after '$'`,
		"*?":                              `malformed reply: no number after '*'`,
		"$+1\r\n":                         `malformed reply: no number after '$'`,
		"$01\r\n":                         `malformed reply: no number after '$'`,
		"$1\n":                            `malformed reply: no number after '$'`,
		"*99999999999999999999":           `malformed reply: no number after '*'`,
		"$1\rx":                           `malformed reply: no LF after a length's CR`,
		"*1\rx":                           `malformed reply: no LF after a length's CR`,
		"$-2\r\n":                         `malformed reply: -2 after '$'`,
		"*-2\r\n":                         `malformed reply: -2 after '*'`,
		"=-1\r\n":                         `malformed reply: -1 after '='`,
		"!-1\r\n":                         `malformed reply: -1 after '!'`,
		"%-1\r\n":                         `malformed reply: -1 after '%'`,
		"~-1\r\n":                         `malformed reply: -1 after '~'`,
		">-1\r\n":                         `malformed reply: -1 after '>'`,
		"|-1\r\n":                         `malformed reply: -1 after '|'`,
		"$1\r\nab\n":                      `malformed reply: no CR LF where a bulk ends`,
		"$1\r\na\rb":                      `malformed reply: no CR LF where a bulk ends`,
		"$0\r\n\n":                        `malformed reply: no CR LF where a bulk ends`,
		"$1099511627777\r\n":              `malformed reply: absurd 1099511627777 after '$'`,
		"$9223372036854775807\r\n":        `malformed reply: absurd 9223372036854775807 after '$'`,
		"*1099511627776\r\n":              `malformed reply: absurd 1099511627776 after '*'`,
		"%549755813888\r\n":               `malformed reply: absurd 549755813888 after '%'`,
		"%9223372036854775807\r\n":        `malformed reply: absurd 9223372036854775807 after '%'`,
		"*1099511627775\r\n*2\r\n":        `malformed reply: absurd 2 after '*'`,
		"*1099511627770\r\n|4\r\n":        `malformed reply: absurd 4 after '|'`,
		"*1\r\n|549755813888\r\n":         `malformed reply: absurd 549755813888 after '|'`,
		"*1099511627775\r\n:1\r\n$3\r\na": "",
		"$1099511627776\r\nx":             "",
	} {
		for pieces := range cuts([]byte(in)) {
			if o := scanReplies(t, pieces...); o.err != want || o.pending != (want == "") || o.ends != nil {
				t.Fatalf("%q as %q: %+v", in, pieces, o)
			}
		}
	}
}

// A server that never ends its line is found out, however it is cut; a line of
// just that length is taken.
func TestReplyEndlessLine(t *testing.T) {
	if testing.Short() {
		t.Skip("scans some gigabytes")
	}
	piece := bytes.Repeat([]byte{'x'}, 64<<20)
	feed := func(size int64) *Reply {
		r := new(Reply)
		r.Scan([]byte("+"))
		for size--; size > 0; {
			p := piece[:min(size, int64(len(piece)))]
			if n, done, err := r.Scan(p); n != len(p) || done || err != nil {
				t.Fatal(n, done, err)
			}
			size -= int64(len(p))
		}
		return r
	}
	if n, done, err := feed(maxReplyLine - 2).Scan([]byte("\r\n")); n != 2 || !done || err != nil {
		t.Error(n, done, err)
	}
	if _, _, err := feed(maxReplyLine - 1).Scan([]byte("\r\n")); err != errEndless {
		t.Error(err)
	}
	if _, _, err := feed(maxReplyLine).Scan([]byte("x")); err != errEndless {
		t.Error(err)
	}
}

func TestReplyType(t *testing.T) {
	var r Reply
	for _, step := range []struct {
		in   string
		kind byte
	}{
		{"", 0},
		{"|1\r\n+a\r\n", 0},
		{"*0\r\n|0\r\n", 0},
		{"*", '*'},
		{"2\r\n+a\r\n:1\r\n", '*'},
		{">", '>'},
		{"0\r\n", '>'},
		{"$5", '$'},
	} {
		if r.Scan([]byte(step.in)); r.Type() != step.kind {
			t.Errorf("after %q: %q", step.in, r.Type())
		}
	}
}

func TestReplyNeed(t *testing.T) {
	for in, want := range map[string]int64{
		"":                        0,
		"+":                       1,
		"$":                       1,
		"$-1\r":                   1,
		"$5\r\n":                  7,
		"$5\r\nhello":             2,
		"$5\r\nhello\r":           1,
		"*3\r\n":                  9,
		"%3\r\n":                  18,
		"|1\r\n":                  9,
		"*3\r\n:1\r\n$5\r\nhe":    3 + 2 + 3,
		"*3\r\n:1\r\n$5\r\nhello": 2 + 3,
		"+OK\r\n":                 0,
	} {
		for pieces := range cuts([]byte(in)) {
			var r Reply
			for _, p := range pieces {
				r.Scan(p)
			}
			if r.Need() != want {
				t.Errorf("%q: %d, want %d", pieces, r.Need(), want)
			}
		}
	}
}
