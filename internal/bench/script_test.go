//go:build linux

package main

import (
	"bytes"
	"slices"
	"testing"
)

func classOf(command string, size, pipeline int) class {
	return class{command: command, size: size, pipeline: pipeline}
}

// repliesOf steps from, from+1, ... as Redis sends them.
func repliesOf(c class, from, n int) []byte {
	var b []byte
	for k := range n {
		_, reply := c.step((from + k) % keysFor(c.size))
		b = append(b, reply...)
	}
	return b
}

func TestBatchIsOneRequestPerStep(t *testing.T) {
	for _, command := range []string{"GET", "SET", mixed} {
		c := classOf(command, 64, 16)
		s := c.script()
		var want []byte
		for k := range 16 {
			request, _ := c.step((s.steps - 3 + k) % s.steps)
			want = append(want, request...)
		}
		if got := s.batch(s.steps-3, 16); !bytes.Equal(got, want) {
			t.Errorf("%s: batch across the last step = %q, want %q", command, got, want)
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
	}{{"GET", 64}, {"GET", 100}, {"GET", 300}, {"SET", 64}, {mixed, 64}} {
		class := classOf(c.command, c.size, 14)
		s := class.script()
		stream := repliesOf(class, s.steps-2, 14)
		for step := 1; step <= len(stream); step++ {
			at := cursor{step: s.steps - 2}
			total := 0
			for part := range slices.Chunk(stream, step) {
				done, ok := s.match(&at, part, 14-total)
				if !ok {
					t.Fatalf("%s of %d in steps of %d: refused after %d replies", c.command, c.size, step, total)
				}
				total += done
			}
			if total != 14 || at.off != 0 || at.step != 12 {
				t.Fatalf("%s of %d in steps of %d: %d replies, then at %+v", c.command, c.size, step, total, at)
			}
		}
	}
}

func TestMatchRefusesEveryWrongByteThatItCompares(t *testing.T) {
	for _, size := range []int{64, 100, 300} {
		c := classOf("GET", size, 1)
		s := c.script()
		right := repliesOf(c, 0, 1)
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
	c := classOf("GET", 64, 1)
	s := c.script()
	two := repliesOf(c, 0, 2)
	at := cursor{}
	if done, ok := s.match(&at, two, 1); ok || done != 1 {
		t.Errorf("a second reply to one request: %d, %v", done, ok)
	}
	at = cursor{}
	if _, ok := s.match(&at, []byte("$"), 0); ok {
		t.Error("a byte that nobody asked for was accepted")
	}
	at = cursor{}
	if _, ok := s.match(&at, repliesOf(c, 1, 1), 1); ok {
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
	c := classOf("GET", 64, 16)
	s := c.script()
	stream := repliesOf(c, 0, 16)
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
	c := classOf("GET", 64, 16)
	s := c.script()
	stream := repliesOf(c, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		at := cursor{}
		if _, ok := s.match(&at, stream, 16); !ok {
			b.Fatal("refused")
		}
	}
}

func TestMixIsOneTenthOfEach(t *testing.T) {
	c := classOf(mixed, 64, 1)
	const steps = 250
	transactions, blocking := 0, 0
	for key := range steps {
		request, reply := c.step(key)
		if bytes.Contains(request, []byte("MULTI")) {
			transactions++
			value := valueOf(64, key)
			if want := "+OK\r\n+QUEUED\r\n*1\r\n$64\r\n" + string(value) + "\r\n"; string(reply) != want {
				t.Fatalf("reply %q, want %q", reply, want)
			}
		}
		if bytes.Contains(request, []byte("BLMOVE")) {
			blocking++
		}
	}
	if transactions != steps/10 || blocking != steps/10 {
		t.Errorf("%d transactions and %d blocking commands of %d steps", transactions, blocking, steps)
	}
}

func TestConstantAnswersEveryGetAlike(t *testing.T) {
	c := classOf("GET", 64, 1)
	c.constant = true
	request, reply := c.step(9)
	wantRequest, _ := getting(64, 9)
	_, wantReply := getting(64, 0)
	if !bytes.Equal(request, wantRequest) || !bytes.Equal(reply, wantReply) {
		t.Errorf("%q, %q", request, reply)
	}
}
