package resp

import "math/bits"

// header is the number of one line "<kind><number>\r\n" whose bytes come in
// any pieces. A number is what Redis' string2ll takes for one: no sign but a
// minus, no leading zero, no minus zero, nothing beyond 64 bits.
type header struct {
	kind  byte // the first byte of the line
	cr    bool // the CR was seen
	lf    bool // a LF followed it
	neg   bool
	bad   bool   // no number, whatever follows
	size  int32  // bytes before the CR, kind included
	value uint64 // magnitude
}

// maxHeader is the most bytes that Redis looks through for the end of a
// header line before it gives up (PROTO_INLINE_MAX_SIZE).
const maxHeader = 64 << 10

// read consumes p up to the byte after the CR, which ends the line (done),
// even if it is no LF. A line of more than maxHeader bytes is done too, without
// a CR.
func (h *header) read(p []byte) (n int, done bool) {
	for n < len(p) {
		c := p[n]
		n++
		if h.cr {
			h.lf = c == '\n'
			return n, true
		}
		if h.size == 0 {
			h.kind = c
		}
		if c == '\r' {
			h.cr = true
			continue
		}
		if h.size++; h.size > maxHeader {
			return n, true
		}
		if h.size > 1 {
			h.add(c)
		}
	}
	return n, false
}

// add takes one more byte of the number.
func (h *header) add(c byte) {
	d, limit := uint64(c-'0'), uint64(1<<63-1)
	if h.neg {
		limit++
	}
	switch {
	case h.size == 2 && c == '-':
		h.neg = true
	case d > 9,
		h.value == 0 && h.neg && d == 0,      // -0
		h.value == 0 && !h.neg && h.size > 2, // a leading zero
		h.value > (limit-d)/10:
		h.bad = true
	default:
		h.value = h.value*10 + d
	}
}

// begun says that some of the line was read.
func (h *header) begun() bool { return h.size > 0 || h.cr }

// number is the value of an ended line; ok is false if it is none.
func (h *header) number() (v int64, ok bool) {
	if h.bad || h.size <= 1 || h.neg && h.size == 2 {
		return 0, false
	}
	if h.neg {
		return -int64(h.value), true
	}
	return int64(h.value), true
}

// maxDigits is how many digits any value may have to fit an int together with
// the length of a buffer.
const maxDigits = 9 * bits.UintSize / 32

// number reads a whole "<digits>\r\n" at p[i:]. Next is where what follows
// begins, or 0 if the line does not end in p or wants a header's closer look: a
// sign, a leading zero, very many digits, garbage.
func number(p []byte, i int) (v, next int) {
	// One and two digits, as nearly every header has.
	if q := p[i:]; len(q) >= 4 {
		d, e := q[0]-'0', q[1]-'0'
		switch {
		case d > 9:
			return 0, 0
		case string(q[1:3]) == "\r\n":
			return int(d), i + 3
		case string(q[2:4]) == "\r\n" && d > 0 && e <= 9:
			return int(d)*10 + int(e), i + 4
		}
	}
	return longNumber(p, i)
}

func longNumber(p []byte, i int) (v, next int) {
	j := i
	for ; j < len(p) && j <= i+maxDigits; j++ {
		d := p[j] - '0'
		if d > 9 {
			break
		}
		v = v*10 + int(d)
	}
	switch {
	case len(p)-j < 2, string(p[j:j+2]) != "\r\n":
		return 0, 0
	case j == i, j > i+maxDigits, p[i] == '0' && j > i+1:
		return 0, 0
	}
	return v, j + 2
}
