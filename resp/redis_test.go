package resp

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redis is a redis-server of this test's own.
type redis struct{ addr string }

// startRedis returns when the server takes connections; the test's end kills it.
func startRedis(t *testing.T, args ...string) redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a redis-server")
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		l.Close()
		if run(t, path, append([]string{"--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1",
			"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)) {
			return redis{addr.String()}
		}
	}
	t.Fatal("redis-server does not start")
	return redis{}
}

// run starts the server and says whether it came up; somebody else may have
// taken its port.
func run(t *testing.T, path string, args []string) bool {
	t.Helper()
	cmd := exec.Command(path, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			return true
		}
	}
	return false
}

// ask sends all of in on a connection of its own and returns all that comes back
// until Redis closes, because of a protocol error or the end of the input.
func (s redis) ask(t *testing.T, in []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := conn.(*net.TCPConn)
	if _, err = c.Write(in); err == nil {
		err = c.CloseWrite()
	}
	var out []byte
	if err == nil {
		out, err = io.ReadAll(c)
	}
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	return out
}

// judge says what Redis made of in: how many requests it answered, and the
// protocol error at the end.
func (s redis) judge(t *testing.T, in []byte) (answered int, protocolError string) {
	t.Helper()
	var r Reply
	for out := s.ask(t, in); len(out) > 0; {
		n, done, err := r.Scan(out)
		if !done || err != nil {
			t.Fatalf("%q: reply %q: %v", in, out, err)
		}
		if protocolError != "" {
			t.Fatalf("%q: %q after a protocol error", in, out)
		}
		if text := string(out[:n]); strings.HasPrefix(text, "-ERR Protocol error") {
			protocolError = text
		} else {
			answered++
		}
		out = out[n:]
	}
	return answered, protocolError
}

// agree checks that Redis makes of in what the scanner makes of it.
func (s redis) agree(t *testing.T, r Request, in []byte) {
	t.Helper()
	o := scanRequests(t, r, in)
	if o.err == errCRLF.Text() {
		return // Redis does not look
	}
	want := 0
	for _, e := range o.ends {
		if !strings.Contains(e, "empty=true") {
			want++
		}
	}
	if answered, err := s.judge(t, in); answered != want || err != o.err {
		t.Errorf("%.200q: Redis answered %d and %q, scanned %d and %q", in, answered, err, want, o.err)
	}
}

func TestRequestAsRedis(t *testing.T) {
	s := startRedis(t)
	for _, c := range append(requestCases, longLines()...) {
		s.agree(t, Request{}, []byte(c.in))
	}
	for _, c := range laxCases {
		if _, err := s.judge(t, []byte(c.in)); strings.Contains(err, "CRLF") {
			t.Errorf("%q: %s", c.in, err)
		}
	}
}

func TestRequestAsRedisUnauthenticated(t *testing.T) {
	s := startRedis(t, "--requirepass", "secret")
	var r Request
	r.Unauthenticated(true)
	for _, c := range unauthenticatedCases {
		s.agree(t, r, []byte(c.in))
	}
}

// Damaged requests end where Redis has them end, and break where it gives up.
func TestRequestAsRedisDamaged(t *testing.T) {
	s := startRedis(t)
	sound := []string{
		"*1\r\n$4\r\nPING\r\n", "*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n", "PING\r\n", "*0\r\n", "\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n012345678901\r\n", "ECHO 'a \\' b'\r\n", "ECHO \"a\\x41 \\\" b\"\n",
	}
	const damage = "*$:-+0123459 \r\n\t\v\"'\\xaPG\xff"
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var in []byte
		for range 1 + rnd.IntN(4) {
			in = append(in, sound[rnd.IntN(len(sound))]...)
		}
		for range rnd.IntN(4) {
			at, c := rnd.IntN(len(in)), damage[rnd.IntN(len(damage))]
			switch rnd.IntN(3) {
			case 0:
				in[at] = c
			case 1:
				in = append(in[:at], in[at+1:]...)
			case 2:
				in = append(in[:at], append([]byte{c}, in[at:]...)...)
			}
			if len(in) == 0 {
				break
			}
		}
		s.agree(t, Request{}, in)
		if t.Failed() {
			return
		}
	}
}

// Inline arguments are what Redis takes them for.
func TestArgsAsRedis(t *testing.T) {
	s := startRedis(t)
	for _, word := range []string{
		`abc`, `"a b"`, `'a b'`, `a"b c"`, `a'b c'`, `"\n\r\t\b\a\q\\\""`, `'\n\'\\ '`, `"\x41\xfF\x4\xg1"`, `""`, `''`,
		"a\vb", "\v\fa", `"'"`, `'"'`, `\n`, `a\`, `"a\\"`, "\xff\xfe", `"\` + "\xff" + `"`,
	} {
		line := []byte("ECHO " + word + "\r\n")
		args := Args(nil, line)
		if len(args) != 2 {
			t.Errorf("%q: %q", line, args)
			continue
		}
		if got, ok := String(s.ask(t, line)); !ok || string(got) != string(args[1]) {
			t.Errorf("%q: Redis says %q, Args %q", line, got, args[1])
		}
	}
}

// Every type of reply that Redis can show is told apart and ends where it should.
func TestReplyOfRedis(t *testing.T) {
	s := startRedis(t, "--enable-debug-command", "yes")
	in := []byte("HELLO 3\r\n")
	want := "%"
	for _, c := range []struct{ name, kinds string }{
		{"string", "$"}, {"integer", ":"}, {"double", ","}, {"null", "_"}, {"array", "*"}, {"set", "~"}, {"map", "%"},
		{"attrib", "$"}, {"push", ">$"}, {"verbatim", "="}, {"true", "#"}, {"false", "#"}, {"bignum", "("},
	} {
		in = fmt.Appendf(in, "DEBUG PROTOCOL %s\r\n", c.name)
		want += c.kinds
	}
	in = append(in, "HELLO 2\r\nGET none\r\nLRANGE none 0 -1\r\nMULTI\r\nBLPOP none 0\r\nEXEC\r\nNOSUCH\r\nPING\r\n"...)
	want += "*$*++*-+"
	out := s.ask(t, in)
	for pieces := range cuts(out) {
		o := scanReplies(t, pieces...)
		var got string
		for _, e := range o.ends {
			got += e[:1]
		}
		if got != want || o.pending || o.err != "" {
			t.Fatalf("%q: %s, %+v", out, got, o)
		}
	}
}
