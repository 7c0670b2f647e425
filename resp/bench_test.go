package resp

import (
	"bytes"
	"fmt"
	"testing"
)

// get is what a client sends for a key of the usual length.
var get = []byte("*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n")

// small are replies of the size that most are.
var small = []struct {
	name string
	p    []byte
}{
	{"status", []byte("+OK\r\n")},
	{"int", []byte(":1\r\n")},
	{"null", []byte("$-1\r\n")},
	{"bulk64", fmt.Appendf(nil, "$64\r\n%064d\r\n", 0)},
}

// bigMap is a map of n pairs of strings and integers.
func bigMap(n int) []byte {
	p := fmt.Appendf(nil, "%%%d\r\n", n)
	for i := range n {
		key := fmt.Sprintf("field:%d", i)
		p = fmt.Appendf(p, "$%d\r\n%s\r\n:%d\r\n", len(key), key, i)
	}
	return p
}

func BenchmarkRequest(b *testing.B) {
	set := fmt.Appendf(nil, "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$64\r\n%064d\r\n", 0)
	for _, c := range []struct {
		name    string
		p       []byte
		request int
	}{
		{"GET", get, 1},
		{"SET64", set, 1},
		{"GETx100", bytes.Repeat(get, 100), 100},
		{"inline", []byte("GET key:000000000001\r\n"), 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var r Request
			for b.Loop() {
				for p := c.p; len(p) > 0; {
					n, _, err := r.Scan(p)
					if err != nil {
						b.Fatal(err)
					}
					p = p[n:]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.request), "ns/request")
		})
	}
}

// BenchmarkRequestName is the whole price of a command on the hot path.
func BenchmarkRequestName(b *testing.B) {
	b.ReportAllocs()
	var r Request
	var length int
	for b.Loop() {
		n, _, _ := r.Scan(get)
		length += len(Name(get[:n]))
	}
	if length != 3*b.N {
		b.Fatal(length)
	}
}

func BenchmarkName(b *testing.B) {
	b.ReportAllocs()
	var length int
	for b.Loop() {
		length += len(Name(get))
	}
	if length != 3*b.N {
		b.Fatal(length)
	}
}

func BenchmarkReply(b *testing.B) {
	for _, c := range small {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var r Reply
			for b.Loop() {
				if _, done, _ := r.Scan(c.p); !done {
					b.Fatal("not done")
				}
			}
		})
	}
	p := bytes.Repeat(small[3].p, 100)
	b.Run("bulk64x100", func(b *testing.B) {
		b.ReportAllocs()
		var r Reply
		for b.Loop() {
			for rest := p; len(rest) > 0; {
				n, _, _ := r.Scan(rest)
				rest = rest[n:]
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100), "ns/reply")
	})
	p = bigMap(1000)
	b.Run("map1000", func(b *testing.B) {
		b.ReportAllocs()
		var r Reply
		for b.Loop() {
			if _, done, _ := r.Scan(p); !done {
				b.Fatal("not done")
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2000), "ns/element")
	})
	b.Run("elements1000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			count := 0
			for range Elements(p) {
				count++
			}
			if count != 2000 {
				b.Fatal(count)
			}
		}
	})
}
