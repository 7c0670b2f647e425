package proxy

import (
	"strings"
	"testing"

	"holdfast/internal/redistest"
)

// realRedis is one real server without Sentinels.
func realRedis(t *testing.T, args ...string) *redistest.Node {
	t.Helper()
	return redistest.New(t, redistest.Options{Args: args}).Nodes[0]
}

func TestPipelineOfAThousand(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	c := w.dial()
	var out strings.Builder
	for range 1000 {
		out.Write(command("INCR", "n"))
	}
	c.send(out.String())
	for i := range 1000 {
		c.expect(integer(i + 1))
	}
}
