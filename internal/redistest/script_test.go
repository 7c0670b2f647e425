package redistest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// plain is a bare connection to a scripted server.
type plain struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *plain {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &plain{nc, t, bufio.NewReader(nc)}
}

func (p *plain) send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plain) expect(text string) {
	p.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(p.r, got); err != nil || string(got) != text {
		p.t.Fatalf("received %q, %v, instead of %q", got[:n], err, text)
	}
}

// quiet says that nothing more comes within a moment.
func (p *plain) quiet() {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	defer func() { _ = p.SetReadDeadline(time.Now().Add(20 * time.Second)) }()
	if b, err := p.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("received %q, %v, instead of nothing", b, err)
	}
}

func TestScriptAnswersAsTold(t *testing.T) {
	s := NewScript(t)
	p := dial(t, s.Addr())
	p.send("PING x\r\n")
	p.expect("-ERR unknown command 'PING', with args beginning with: 'x' \r\n")
	s.Handle("ping", OK)
	s.Handle("CONFIG GET", Raw("*0\r\n"))
	s.Handle("CONFIG", Error("ERR no"))
	s.Handle("LATER", InTurn(Raw(":1\r\n"), Raw(":2\r\n")))
	p.send("PING\r\nconfig get x\r\nCONFIG SET x y\r\nLATER\r\nLATER\r\nLATER\r\n")
	p.expect("+OK\r\n*0\r\n-ERR no\r\n:1\r\n:2\r\n:2\r\n")
	s.Handle("", OK)
	s.Handle("CONFIG", nil)
	p.send("CONFIG SET x y\r\n")
	p.expect("+OK\r\n")
	if n := s.Count("config set"); n != 2 {
		t.Errorf("CONFIG SET counted %d times", n)
	}
}

func TestScriptMisbehaves(t *testing.T) {
	ctx := within(t, 20*time.Second)
	s := NewScript(t)
	s.Handle("HALF", Half("$10\r\nabc"))
	s.Handle("HANG", Hang)
	s.Handle("CUT", Cut)
	s.Handle("RESET", func(c *Conn, _ []string) { c.Reset() })
	s.Handle("PING", OK)

	half := dial(t, s.Addr())
	half.send("PING\r\nHALF\r\nPING\r\n")
	half.expect("+OK\r\n$10\r\nabc")
	half.quiet()
	hang := dial(t, s.Addr())
	hang.send("HANG\r\nPING\r\n")
	if _, err := s.AwaitCommand(ctx, "HANG"); err != nil {
		t.Fatal(err)
	}
	hang.quiet()
	cut := dial(t, s.Addr())
	cut.send("CUT\r\n")
	if _, err := cut.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a cut connection: %v", err)
	}
	reset := dial(t, s.Addr())
	reset.send("RESET\r\n")
	if _, err := reset.r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset connection: %v", err)
	}

	s.Silence(true)
	silent := dial(t, s.Addr())
	silent.send("PING\r\n")
	if cmd, err := s.AwaitCommand(ctx, "PING"); err != nil || cmd.Conn != 1 {
		t.Errorf("the first PING is %v, %v", cmd, err)
	}
	if cmd, err := s.AwaitCommand(ctx, "PING"); err != nil || cmd.Conn != 5 {
		t.Errorf("the second PING is %v, %v", cmd, err)
	}
	s.Silence(false)
	silent.send("PING\r\n")
	silent.expect("+OK\r\n")
	silent.quiet()
}

func TestScriptRefusesAndAccepts(t *testing.T) {
	ctx := within(t, 20*time.Second)
	s := NewScript(t)
	s.Handle("PING", OK)
	old := dial(t, s.Addr())
	if err := s.AwaitConns(ctx, 1); err != nil {
		t.Fatal(err)
	}
	s.Refuse()
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial while refusing: %v", err)
	}
	old.send("PING\r\n")
	old.expect("+OK\r\n")
	if err := s.Accept(); err != nil {
		t.Fatal(err)
	}
	dial(t, s.Addr()).send("PING\r\n")
	if err := s.AwaitConns(ctx, 2); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if err := s.AwaitConns(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := old.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after Cut: %v", err)
	}
}

func TestScriptAwaits(t *testing.T) {
	s := NewScript(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.AwaitCommand(ctx, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that never came: %v", err)
	}
	p := dial(t, s.Addr())
	p.send("CLIENT SETNAME a\r\nclient setname b\r\n")
	ctx = within(t, 20*time.Second)
	for _, name := range []string{"a", "b"} {
		if cmd, err := s.AwaitCommand(ctx, "CLIENT SETNAME"); err != nil || cmd.Args[2] != name {
			t.Errorf("received %v, %v, instead of name %s", cmd, err, name)
		}
	}
	if cmd, err := s.AwaitCommand(ctx, "CLIENT"); err != nil || cmd.Args[2] != "a" {
		t.Errorf("another name has been handed out %v, %v", cmd, err)
	}
}

func TestPublish(t *testing.T) {
	ctx := within(t, 20*time.Second)
	n := NewScriptedNode(t)
	two, three := dial(t, n.Addr()), dial(t, n.Addr())
	two.send("SUBSCRIBE a b\r\n")
	two.expect("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n")
	three.send("HELLO 3\r\nPSUBSCRIBE +*\r\n")
	if err := n.AwaitSubscriber(ctx, "+*"); err != nil {
		t.Fatal(err)
	}
	if err := n.AwaitSubscriber(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if got := []int{n.Publish("b", "x"), n.Publish("+sdown", "y"), n.Publish("c", "z")}; !slices.Equal(got, []int{1, 1, 0}) {
		t.Errorf("receivers: %v", got)
	}
	two.expect("*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\nx\r\n")
	two.send("UNSUBSCRIBE b\r\nPING\r\n")
	two.expect("*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	three.expect("%7\r\n$6\r\nserver\r\n")
	for line := ""; line != ">4\r\n"; {
		var err error
		if line, err = three.r.ReadString('\n'); err != nil {
			t.Fatal("no push: ", err)
		}
	}
	three.expect("$8\r\npmessage\r\n$2\r\n+*\r\n$6\r\n+sdown\r\n$1\r\ny\r\n")
}

func TestScriptCloseLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := Listen("")
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("HANG", Hang)
	p := dial(t, s.Addr())
	p.send("HANG\r\n")
	if _, err := s.AwaitCommand(within(t, 20*time.Second), "HANG"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := s.Accept(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial after Close: %v", err)
	}
}
