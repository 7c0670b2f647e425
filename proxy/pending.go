package proxy

// pending is what one session has accepted and not yet answered: the commands
// in order, and their bytes in one log. The log is both the buffer that is
// written to the upstream (log[sent:] is still to be written) and the memory
// from which commands are sent again after a failover. It belongs to the loop
// of its session.
//
// The first byte of the log belongs to the first entry that has bytes there;
// entries follow each other in the log in the order of the queue.
type pending struct {
	log  []byte
	off  int // log[:off] is answered and may be dropped
	sent int // log[off:sent] has been written to the upstream
	q    []entry
	head int
	pair int // q[head:pair] was told "not executed" and waits to be sent again; replies belong to q[pair]

	begun int // on a shared upstream: the first of q of which nothing has been written
	next  int // where in the log that one begins
}

// entry is one accepted command.
type entry struct {
	size uint32 // bytes in the log; 0 once they are no longer kept
	want uint16 // confirmations still to come for a (un)subscription
	kind kind
	flag flag
}

type flag uint8

const (
	flagLarge flag = 1 << iota // passed on by counting, never kept
	flagAgain                  // known not to have been executed
)

func (p *pending) empty() bool { return p.head == len(p.q) }
func (p *pending) len() int    { return len(p.q) - p.head }

// few tells whether a client that was stopped by sharedInFlight may go on: not
// with each answer, since what it has sent is copied each time.
func (p *pending) few() bool { return p == nil || p.len() <= sharedInFlight/2 }

// unsent is what is to be written to the upstream.
func (p *pending) unsent() []byte { return p.log[p.sent:] }

// kept is how many bytes the log holds.
func (p *pending) kept() int { return len(p.log) - p.off }

// push accepts one command with its bytes (nil for an answer of our own).
func (p *pending) push(e entry, cmd []byte) {
	e.size = uint32(len(cmd))
	p.enqueue(e)
	p.keep(cmd)
}

// enqueue and keep are push in two: the entries of several commands, then their
// bytes in one piece.
func (p *pending) enqueue(e entry) {
	if len(p.q) == cap(p.q) {
		p.roomInQueue()
	}
	p.q = append(p.q, e)
}

func (p *pending) keep(cmds []byte) {
	p.roomInLog(len(cmds))
	p.log = append(p.log, cmds...)
}

// grow appends more bytes of the last command, which is being passed on.
func (p *pending) grow(more []byte) {
	p.keep(more)
	p.q[len(p.q)-1].size += uint32(len(more))
}

// roomInLog and roomInQueue drop what is answered when that avoids a larger
// buffer.
func (p *pending) roomInLog(n int) {
	if p.off > len(p.log)/2 && len(p.log)+n > cap(p.log) {
		p.log = p.log[:copy(p.log, p.log[p.off:])]
		p.sent -= p.off
		p.next -= p.off
		p.off = 0
	}
}

func (p *pending) roomInQueue() {
	if p.head > len(p.q)/2 {
		p.q = p.q[:copy(p.q, p.q[p.head:])]
		p.pair -= p.head
		p.begun -= p.head
		p.head = 0
	}
}

// waiting is the entry that the next reply belongs to, nil if none is due.
func (p *pending) waiting() *entry {
	if p.pair < len(p.q) {
		return &p.q[p.pair]
	}
	return nil
}

// command is the bytes of the entry that the next reply belongs to; empty when
// they were not kept. Valid until the next change of p.
func (p *pending) command() []byte {
	at := p.off
	for i := p.head; i < p.pair; i++ {
		at += int(p.q[i].size)
	}
	return p.log[at : at+int(p.q[p.pair].size)]
}

// pop settles the first entry. Only with nothing set aside (pair == head).
func (p *pending) pop() {
	p.off += int(p.q[p.head].size)
	p.head++
	p.pair = p.head
	p.sent = max(p.sent, p.off)
	p.begun, p.next = max(p.begun, p.head), max(p.next, p.off)
	if p.head == len(p.q) {
		*p = pending{log: p.log[:0], q: p.q[:0]}
	}
}

// ours tells whether the first entry is an answer of our own whose turn has
// come.
func (p *pending) ours() bool {
	return p.head < len(p.q) && p.head == p.pair && p.q[p.head].kind == kindAnswer
}

// due is how many of the commands that clients sent are not settled.
func (p *pending) due() int {
	n := 0
	for _, e := range p.q[p.head:] {
		if e.kind != kindProve && e.kind != kindOwn {
			n++
		}
	}
	return n
}

// setAside leaves the current entry in the queue, to be sent again, and lets
// the next reply belong to the next one.
func (p *pending) setAside() {
	p.q[p.pair].flag |= flagAgain
	for p.pair++; p.pair < len(p.q) && (p.q[p.pair].kind == kindSilent || p.q[p.pair].kind == kindAnswer); {
		p.pair++
	}
}

// drop takes back the last command, of which only a part was received.
func (p *pending) drop() {
	last := p.q[len(p.q)-1]
	p.log = p.log[:len(p.log)-int(last.size)]
	p.sent = min(p.sent, len(p.log))
	p.q = p.q[:len(p.q)-1]
}

// written notes that n bytes more have gone to the upstream.
func (p *pending) written(n int) { p.sent += n }

// begin notes that n bytes more have gone to a shared upstream, and tells of how
// many commands these are the first.
func (p *pending) begin(n int) (begun int) {
	p.sent += n
	for ; p.begun < len(p.q) && p.next < p.sent; p.begun++ {
		if p.q[p.begun].kind != kindAnswer {
			begun++
		}
		p.next += int(p.q[p.begun].size)
	}
	return begun
}

// awaits tells whether something has been written, in part or whole, to a shared
// upstream and is not answered.
func (p *pending) awaits() bool { return p != nil && p.pair < p.begun }

// begunRest is what is still to be written of a command of which a part is.
func (p *pending) begunRest() []byte {
	if p.next <= p.sent {
		return nil
	}
	return p.log[p.sent:p.next]
}

// sentWhole tells whether the command that the next reply belongs to has left
// completely; only then can a reply come.
func (p *pending) sentWhole() bool {
	if p.pair >= len(p.q) {
		return false
	}
	end := p.off
	for i := p.head; i <= p.pair; i++ {
		end += int(p.q[i].size)
	}
	return end <= p.sent
}

// release drops the bytes of a last command that is passed on by counting, as
// far as they are written: they will never be sent again.
func (p *pending) release() {
	last := &p.q[len(p.q)-1]
	start := len(p.log) - int(last.size)
	if p.sent <= start {
		return
	}
	n := copy(p.log[start:], p.log[p.sent:])
	p.log = p.log[:start+n]
	p.sent = start
	last.size = uint32(n)
}

// forget drops the bytes of ordinary commands that have been sent, because the
// log has passed its limit. They can then only be answered, never sent again.
func (p *pending) forget() {
	out := p.log[:0]
	sent := 0
	at := p.off
	for i := p.head; i < len(p.q); i++ {
		e := &p.q[i]
		cmd := p.log[at : at+int(e.size)]
		at += int(e.size)
		if at <= p.sent {
			if !e.kind.stateful() && e.flag&flagAgain == 0 {
				e.size = 0
				continue
			}
			sent += len(cmd)
		} else if at-len(cmd) < p.sent {
			sent += p.sent - (at - len(cmd))
		}
		out = append(out, cmd...)
	}
	p.log, p.off, p.sent, p.next = out, 0, sent, 0
	for _, e := range p.q[p.head:p.begun] {
		p.next += int(e.size)
	}
}

// rewind makes everything unsent again, for a new upstream.
func (p *pending) rewind() {
	p.sent, p.next = p.off, p.off
	p.pair, p.begun = p.head, p.head
}
