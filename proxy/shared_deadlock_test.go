package proxy

import (
	"fmt"
	"strings"
	"testing"
)

// TestClientThatSendsAllBeforeItReads: Redis takes in a pipeline of any length
// and keeps the replies; a client that relies on it must not wait for ever.
func TestClientThatSendsAllBeforeItReads(t *testing.T) {
	for _, size := range []int{100, 20000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			node := realRedis(t)
			w := newWorld(t, node.Addr)
			value := strings.Repeat("v", size)
			w.dial().want(ok, "SET", "k", value)
			c, d := w.dial(), w.dial()
			n := 30 << 20 / size
			filler := strings.Repeat("f", max(10, 60<<20/n))
			get := string(command("GET", "k")) + string(command("ECHO", filler))
			c.send(strings.Repeat(get, n))
			d.want(pong, "PING")
			for range n {
				c.expect(bulk(value), bulk(filler))
			}
		})
	}
}
