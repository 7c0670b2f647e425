package proxy

// owners is whose the replies of a shared upstream are, in the order in which
// the commands were written: runs of one session each. A session that has left
// meanwhile is found out when its reply comes.
type owners struct {
	runs []run
	head int
}

type run struct {
	s *session
	n int
}

func (o *owners) empty() bool { return o.head == len(o.runs) }

// add notes that n commands of s have begun to be written.
func (o *owners) add(s *session, n int) {
	if n == 0 {
		return
	}
	if last := len(o.runs) - 1; last >= o.head && o.runs[last].s == s {
		o.runs[last].n += n
		return
	}
	if len(o.runs) == cap(o.runs) && o.head > len(o.runs)/2 {
		kept := copy(o.runs, o.runs[o.head:])
		clear(o.runs[kept:])
		o.runs, o.head = o.runs[:kept], 0
	}
	o.runs = append(o.runs, run{s, n})
}

// next is whose the next reply is; nil: nobody waits for one.
func (o *owners) next() *session {
	if o.empty() {
		return nil
	}
	return o.runs[o.head].s
}

// pop notes that the next reply has come.
func (o *owners) pop() {
	r := &o.runs[o.head]
	if r.n--; r.n > 0 {
		return
	}
	r.s = nil
	if o.head++; o.head == len(o.runs) {
		o.runs, o.head = o.runs[:0], 0
	}
}

// other tells whether somebody else than s waits for a reply.
func (o *owners) other(s *session) bool {
	for _, r := range o.runs[o.head:] {
		if r.s != s && r.s.phase != phaseClosed {
			return true
		}
	}
	return false
}
