//go:build linux

package main

import (
	"bytes"
	"slices"
	"testing"
)

// replies of keys from, from+1, ... as Redis sends them.
func repliesOf(command string, size, from, n int) []byte {
	var b []byte
	for k := range n {
		_, reply := question(command, size, (from+k)%keysFor(size))
		b = append(b, reply...)
	}
	return b
}

func TestBatchIsOneRequestPerKey(t *testing.T) {
	for _, command := range []string{"GET", "SET"} {
		s := newScript(command, 64, 16)
		var want []byte
		for k := range 16 {
			request, _ := question(command, 64, (s.keys-3+k)%s.keys)
			want = append(want, request...)
		}
		if got := s.batch(s.keys-3, 16); !bytes.Equal(got, want) {
			t.Errorf("%s: batch across the last key = %q, want %q", command, got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	if got, want := string(encode("GET", "a bc")), "*2\r\n$3\r\nGET\r\n$4\r\na bc\r\n"; got != want {
		t.Errorf("encode = %q, want %q", got, want)
	}
}

func TestValuesNameKeyAndPlace(t *testing.T) {
	for _, size := range []int{1, 64, 1000, 1 << 20} {
		if got := len(valueOf(size, 3)); got != size {
			t.Fatalf("valueOf(%d) has %d bytes", size, got)
		}
	}
	if bytes.Equal(valueOf(64, 1), valueOf(64, 2)) {
		t.Error("two keys have the same value")
	}
	big := valueOf(1<<20, 5)
	if bytes.Equal(big[:8], big[1<<19:1<<19+8]) {
		t.Error("two places of a value are the same")
	}
}

func TestMatchAcrossEverySplit(t *testing.T) {
	for _, c := range []struct {
		command string
		size    int
	}{{"GET", 64}, {"GET", 100}, {"GET", 300}, {"SET", 64}} {
		s := newScript(c.command, c.size, 4)
		stream := repliesOf(c.command, c.size, s.keys-2, 4)
		for step := 1; step <= len(stream); step++ {
			at := cursor{key: s.keys - 2}
			total := 0
			for part := range slices.Chunk(stream, step) {
				done, ok := s.match(&at, part, 4-total)
				if !ok {
					t.Fatalf("%s of %d in steps of %d: refused after %d replies", c.command, c.size, step, total)
				}
				total += done
			}
			if total != 4 || at.off != 0 || at.key != 2 {
				t.Fatalf("%s of %d in steps of %d: %d replies, then at %+v", c.command, c.size, step, total, at)
			}
		}
	}
}

func TestMatchRefusesEveryWrongByteThatItCompares(t *testing.T) {
	for _, size := range []int{64, 100, 300} {
		s := newScript("GET", size, 1)
		right := repliesOf("GET", size, 0, 1)
		for i := range right {
			compared := i < headLen || i >= len(right)-tailLen
			for _, step := range []int{len(right), 7} {
				wrong := bytes.Clone(right)
				wrong[i] ^= 1
				at, refused := cursor{}, false
				for part := range slices.Chunk(wrong, step) {
					if _, ok := s.match(&at, part, 1); !ok {
						refused = true
						break
					}
				}
				if refused != compared {
					t.Fatalf("size %d, byte %d of %d wrong, steps of %d: refused %v, want %v", size, i, len(right), step, refused, compared)
				}
			}
		}
	}
}

func TestMatchRefusesWhatWasNotAskedFor(t *testing.T) {
	s := newScript("GET", 64, 1)
	two := repliesOf("GET", 64, 0, 2)
	at := cursor{}
	if done, ok := s.match(&at, two, 1); ok || done != 1 {
		t.Errorf("a second reply to one request: %d, %v", done, ok)
	}
	at = cursor{}
	if _, ok := s.match(&at, []byte("$"), 0); ok {
		t.Error("a byte that nobody asked for was accepted")
	}
	at = cursor{}
	if _, ok := s.match(&at, repliesOf("GET", 64, 1, 1), 1); ok {
		t.Error("the reply to another key was accepted")
	}
	for _, other := range []string{"-ERR no\r\n", "$-1\r\n", "$65\r\n", "+OK\r\n"} {
		at = cursor{}
		if _, ok := s.match(&at, []byte(other), 1); ok {
			t.Errorf("%q was accepted", other)
		}
	}
}

func TestMatchAndAddDoNotAllocate(t *testing.T) {
	s := newScript("GET", 64, 16)
	stream := repliesOf("GET", 64, 0, 16)
	var h histogram
	if n := testing.AllocsPerRun(100, func() {
		at := cursor{}
		done, _ := s.match(&at, stream, 16)
		for range done {
			h.add(12345)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	s := newScript("GET", 64, 16)
	stream := repliesOf("GET", 64, 0, 16)
	for b.Loop() {
		at := cursor{}
		if _, ok := s.match(&at, stream, 16); !ok {
			b.Fatal("refused")
		}
	}
}
