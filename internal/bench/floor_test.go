//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the floor, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-floor" {
		fmt.Fprintln(os.Stderr, serveFloor(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// newTestFloor is one that does not run; its listener and epoll are closed by
// the test's end.
func newTestFloor(t *testing.T) *floor {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFloor(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.listener) })
	return f
}

func TestFloorAnswersWholeRequestsOnly(t *testing.T) {
	f := newTestFloor(t)
	value := string(f.value)
	stream := bytes.Join([][]byte{encode("GET", "a"), encode("PING"), encode("SET", "b", "c"), encode("GET", "d")}, nil)
	want := value + "+PONG\r\n+OK\r\n" + value
	for cut := range stream {
		rest, ok := f.answer(stream[:cut])
		if !ok {
			t.Fatalf("cut at %d: refused", cut)
		}
		got := string(f.out)
		if rest, ok = f.answer(append(bytes.Clone(rest), stream[cut:]...)); !ok || len(rest) != 0 {
			t.Fatalf("cut at %d: %q is left, %v", cut, rest, ok)
		}
		if got += string(f.out); got != want {
			t.Fatalf("cut at %d: %q, want %q", cut, got, want)
		}
	}
	if _, ok := f.answer([]byte("*1\r\n+\r\n")); ok {
		t.Error("what is no request was accepted")
	}
}

func TestFloorKeepsWhatAClientDoesNotTake(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	var c floorClient
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	drained := c.send(pair[0], sent)
	if drained || len(c.unsent) == 0 {
		t.Fatalf("a socket took %d bytes", len(sent))
	}
	var got []byte
	buf := make([]byte, 64<<10)
	for len(got) < len(sent) {
		n, err := unix.Read(pair[1], buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
		if !drained {
			drained = c.send(pair[0], c.unsent)
		}
	}
	if !drained || !bytes.Equal(got, sent) {
		t.Error("what came is not what was sent")
	}
}

func TestFloorDoesNotAllocate(t *testing.T) {
	f := newTestFloor(t)
	batch := classOf("GET", 64, 16).script().batch(0, 16)
	if n := testing.AllocsPerRun(100, func() { f.answer(batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFloorAnswer(b *testing.B) {
	b.ReportAllocs()
	f := &floor{buf: make([]byte, 256<<10)}
	_, f.value = getting(64, 0)
	batch := classOf("GET", 64, 16).script().batch(0, 16)
	for b.Loop() {
		f.answer(batch)
	}
}
