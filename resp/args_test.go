package resp

import (
	"fmt"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                               nil,
		"*0\r\n":                         nil,
		"*-1\r\n":                        nil,
		"\r\n":                           nil,
		"*1\r\n$4\r\nPING\r\n":           {"PING"},
		"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n": {"ECHO", ""},
		"*3\r\n$3\r\nSET\r\n$1\r\n\r\r\n$2\r\n\r\n\r\n": {"SET", "\r", "\r\n"},
		"PING\r\n":                    {"PING"},
		"PING\n":                      {"PING"},
		"  set\tk  v \r\n":            {"set", "k", "v"},
		"ECHO \"\" ''\r\n":            {"ECHO", "", ""},
		"ECHO \"a b\" 'c d'\r\n":      {"ECHO", "a b", "c d"},
		"ECHO \"a\\\"b\" 'c\\'d'\r\n": {"ECHO", `a"b`, `c'd`},
		"ECHO \"\\n\\r\\t\\b\\a\\q\\\\\" '\\n\\\\x'\r\n": {"ECHO", "\n\r\t\b\aq\\", `\n\\x`},
		"ECHO \"\\x41\\xfF\\x4\\xg1\"\r\n":               {"ECHO", "A\xffx4xg1"},
		"ECHO \"\\\"x\"\r\n":                             {"ECHO", `"x`},
		"ECHO a\"b c\"d'e f'\r\n":                        {"ECHO"}, // a closing quote ends the argument
		"ECHO a\"b c\" d'e f'\r\n":                       {"ECHO", "ab c", "de f"},
		"PI\vNG \v\f x\r\n":                              {"PI\vNG", "x"},
		"a\x00 b\r\n":                                    {"a"}, // ends as a C string does, though no request does
		"a\rb\r\n":                                       {"a", "b"},
	} {
		got := fmt.Sprintf("%q", Args(nil, []byte(in)))
		if got != fmt.Sprintf("%q", want) {
			t.Errorf("%q: %s, want %q", in, got, want)
		}
	}
}

// Appending to one argument must not reach into the next.
func TestArgsDoNotOverlap(t *testing.T) {
	for _, in := range []string{"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "a b\r\n", "'a' b\r\n", "\"\\n\" b\r\n"} {
		args := Args(nil, []byte(in))
		_ = append(args[0], "xxxxxxxxxxx"...)
		if string(args[1]) != "b" {
			t.Errorf("%q: %q", in, args)
		}
		name := Name([]byte(in))
		_ = append(name, "xxxxxxxxxxx"...)
	}
}

func TestArgsAppends(t *testing.T) {
	dst := [][]byte{[]byte("x")}
	if got := fmt.Sprintf("%q", Args(dst, []byte("PING\r\n"))); got != `["x" "PING"]` {
		t.Error(got)
	}
}

// A line of words that must be copied costs no more than its own length.
func TestArgsCopiesNoMoreThanTheLine(t *testing.T) {
	line := []byte(strings.Repeat(`"\n" `, maxInline/5) + "\r\n")
	if got := len(Args(nil, line)); got != maxInline/5 {
		t.Fatal(got)
	}
	var size int
	for _, arg := range Args(nil, line) {
		size += cap(arg)
	}
	if size > 4*len(line) {
		t.Errorf("%d bytes for a line of %d", size, len(line))
	}
}

func TestName(t *testing.T) {
	const none = "<nil>"
	for in, want := range map[string]string{
		"":                               none,
		"*":                              none,
		"*1\r\n":                         none,
		"*0\r\n$4\r\nPING\r\n":           none,
		"*-1\r\n$4\r\nPING\r\n":          none,
		"*1\r\n$4\r\n":                   none,
		"*1\r\n$4\r\nPIN":                none,
		"*1\r\n$4\r\nPING":               "PING",
		"*1\r\n$4\r\nPING\r\n":           "PING",
		"*1\r\n$0\r\n\r\n":               "",
		"*1\r\n$0\r\n":                   "",
		"*2\r\n$4\r\nECHO\r\n$100\r\nx":  "ECHO",
		"*12\r\n$3\r\nDEL\r\n":           "DEL",
		"*2\r\n$10\r\nPSUBSCRIBE\r\n$":   "PSUBSCRIBE",
		"*2\r\n$10\r\nPSUBSCRIB":         none,
		"*1\r\n:4\r\nPING\r\n":           none,
		"*1\r\n$-\r\n....":               none,
		"*x\r\n$4\r\nPING\r\n":           none,
		"*1\r\n$x\r\nPING\r\n":           none,
		"*1\r\n$999999999999999999\r\nx": none,
		"PING":                           none,
		"PING\r\n":                       "PING",
		"  PING x\n":                     "PING",
		"\"P\\x49NG\" x\r\n":             "PING",
		"\"PING\r\n":                     none,
		"\r\n":                           none,
		"\x00\r\n":                       none,
	} {
		got := none
		if name := Name([]byte(in)); name != nil {
			got = string(name)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
