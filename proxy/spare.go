package proxy

// spare keeps what sessions gave back, so that an idle client owns no buffer
// and a busy one costs no allocation. One per loop, no locks.
type spare struct {
	pending []*pending
	bytes   [][]byte
}

const (
	spareMost   = 512      // of each kind
	spareLog    = 32 << 10 // a larger log is left to the collector
	smallBuffer = 4 << 10
)

func (sp *spare) getPending() *pending {
	if n := len(sp.pending); n > 0 {
		p := sp.pending[n-1]
		sp.pending = sp.pending[:n-1]
		return p
	}
	return &pending{}
}

func (sp *spare) putPending(p *pending) {
	if cap(p.log) > spareLog || cap(p.q) > spareLog/16 || len(sp.pending) >= spareMost {
		return
	}
	*p = pending{log: p.log[:0], q: p.q[:0]}
	sp.pending = append(sp.pending, p)
}

// join appends p to a buffer that may be nil.
func (sp *spare) join(b, p []byte) []byte {
	if b == nil && len(p) <= smallBuffer {
		if n := len(sp.bytes); n > 0 {
			b = sp.bytes[n-1]
			sp.bytes = sp.bytes[:n-1]
		} else {
			b = make([]byte, 0, smallBuffer)
		}
	}
	return append(b, p...)
}

// put takes a buffer back; nil is what its owner keeps.
func (sp *spare) put(b []byte) []byte {
	if cap(b) == smallBuffer && len(sp.bytes) < spareMost {
		sp.bytes = append(sp.bytes, b[:0])
	}
	return nil
}
