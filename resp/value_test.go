package resp

import (
	"fmt"
	"testing"
)

func TestElements(t *testing.T) {
	for in, want := range map[string][]string{
		"*0\r\n":                         nil,
		"*-1\r\n":                        nil,
		"%0\r\n":                         nil,
		"*2\r\n:1\r\n$1\r\nx\r\n":        {":1\r\n", "$1\r\nx\r\n"},
		"~1\r\n*2\r\n:1\r\n:2\r\n":       {"*2\r\n:1\r\n:2\r\n"},
		">2\r\n+a\r\n_\r\n":              {"+a\r\n", "_\r\n"},
		"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n": {"+a\r\n", ":1\r\n", "+b\r\n", ":2\r\n"},
		"*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n": {"|1\r\n+a\r\n+b\r\n:1\r\n"},
		"|1\r\n+a\r\n*1\r\n+b\r\n|0\r\n*2\r\n:1\r\n:2\r\n": {":1\r\n", ":2\r\n"},

		// not one complete aggregate
		"":                      nil,
		"|1\r\n+a\r\n":          nil,
		"|1\r\n+a\r\n+b\r\n":    nil,
		"+OK\r\n":               nil,
		"$1\r\nx\r\n":           nil,
		"*x\r\n":                nil,
		"*2\r\n:1\r\n:2":        {":1\r\n"},
		"*2\r\n:1\r\nx":         {":1\r\n"},
		"*999999999\r\n:1\r\n:": {":1\r\n"},
	} {
		var got []string
		for e := range Elements([]byte(in)) {
			got = append(got, string(e))
			_ = append(e, "xxxxxxxxx"...) // must not reach into the next
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%q: %q", in, got)
		}
	}
	for e := range Elements([]byte("*2\r\n:1\r\n:2\r\n")) {
		if string(e) != ":1\r\n" {
			t.Errorf("after break: %q", e)
		}
		break
	}
}

func TestString(t *testing.T) {
	const no = "<none>"
	for in, want := range map[string]string{
		"+OK\r\n":                    "OK",
		"+\r\n":                      "",
		"-ERR no\r\n":                "ERR no",
		"$5\r\nhello\r\n":            "hello",
		"$0\r\n\r\n":                 "",
		"!6\r\nERR no\r\n":           "ERR no",
		"=8\r\ntxt:some\r\n":         "some",
		"=3\r\nabc\r\n":              "abc",
		"|1\r\n+a\r\n+b\r\n+OK\r\n":  "OK",
		"$-1\r\n":                    no,
		"_\r\n":                      no,
		":1\r\n":                     no,
		"*0\r\n":                     no,
		"":                           no,
		"+":                          no,
		"$5\r\nhell":                 no,
		"$x\r\n":                     no,
		"|1\r\n+a\r\n":               no,
		"|99999999999999\r\n+a\r\n+": no,
	} {
		got := no
		if s, ok := String([]byte(in)); ok {
			got = string(s)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{
		":0\r\n":                      0,
		":-1\r\n":                     -1,
		":+7\r\n":                     7,
		":9223372036854775807\r\n":    9223372036854775807,
		":-9223372036854775808\r\n":   -9223372036854775808,
		"|1\r\n+a\r\n+b\r\n:1234\r\n": 1234,
	} {
		if got, ok := Int([]byte(in)); !ok || got != want {
			t.Errorf("%q: %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", ":", ":\r\n", ":x\r\n", ":9223372036854775808\r\n", "+1\r\n", "$1\r\n1\r\n", "_\r\n", "|1\r\n"} {
		if got, ok := Int([]byte(in)); ok {
			t.Errorf("%q: %d", in, got)
		}
	}
}

// Scanning and looking into a reply allocate nothing, however they are cut.
func TestNoAllocations(t *testing.T) {
	reply := []byte("|1\r\n+a\r\n%1\r\n+b\r\n+c\r\n%2\r\n+d\r\n$3\r\nabc\r\n+e\r\n*2\r\n:1234567\r\n$-1\r\n")
	inline := []byte("GET key\r\n")
	args := make([][]byte, 0, 4)
	var request Request
	var scanner Reply
	for name, f := range map[string]func(){
		"request": func() {
			scanAll(t, &request, get)
			scanAll(t, &request, inline)
		},
		"reply": func() { scanAll(t, &scanner, reply) },
		"args":  func() { args = Args(Args(args[:0], get), inline) },
		"name":  func() { _, _ = Name(get), Name(inline) },
		"elements": func() {
			for e := range Elements(reply) {
				String(e)
				for i := range Elements(e) {
					Int(i)
				}
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// scanAll feeds frame whole and then cut at each place.
func scanAll(t *testing.T, s interface {
	Scan([]byte) (int, bool, error)
}, frame []byte) {
	for i := range frame {
		s.Scan(frame[:i])
		if n, done, err := s.Scan(frame[i:]); n != len(frame)-i || !done || err != nil {
			t.Fatal(n, done, err)
		}
	}
}
