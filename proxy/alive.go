package proxy

import (
	"context"
	"fmt"
)

// Alive returns nil once every loop has read its mail, which takes one round of
// each. If one has not when ctx ends, the error names it. A loop that has
// drained and ended is no reason for one. It may be called from any goroutine.
func (p *Proxy) Alive(ctx context.Context) error {
	for i, l := range p.loops {
		read := make(chan struct{})
		if !l.post(func(*loop) { close(read) }) {
			continue
		}
		select {
		case <-read:
		case <-ctx.Done():
			return fmt.Errorf("loop %d of %d does not answer", i+1, len(p.loops))
		}
	}
	return nil
}
