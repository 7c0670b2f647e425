package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// BenchmarkRound is a batch of one client, there and back through a loop and a
// real server. The sockets are most of the time; the allocations are the loop's.
func BenchmarkRound(b *testing.B) {
	node := realRedis(b)
	w := newWorld(b, node.Addr)
	c := w.dial()
	c.want(ok, "SET", "key", strings.Repeat("v", 64))
	for _, batch := range []int{1, 16, 100} {
		b.Run(fmt.Sprint("commands=", batch), func(b *testing.B) {
			request := []byte(strings.Repeat(line("GET key"), batch))
			reply := make([]byte, batch*len(bulk(strings.Repeat("v", 64))))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.nc.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c.nc, reply); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/command")
		})
	}
}
