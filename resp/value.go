package resp

import (
	"iter"
	"strconv"
)

// Elements iterates over the elements of frame, one complete array, set, push
// or map; a map gives its keys and values in turn. Each element is a complete
// frame itself and points into frame. Attributes in front of frame are passed
// over; those of an element come with it. Anything else has no elements.
func Elements(frame []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		c, count, rest := aggregate(withoutAttributes(frame))
		if c == pairs {
			count *= 2
		}
		for ; count > 0; count-- {
			n := first(rest)
			if n == 0 || !yield(rest[:n:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// String is the text of frame, one complete bulk, simple or verbatim string
// (without the verbatim string's format) or error. It points into frame. A null
// and everything else is not ok.
func String(frame []byte) (s []byte, ok bool) {
	frame = withoutAttributes(frame)
	if len(frame) < smallestValue {
		return nil, false
	}
	switch frame[0] {
	case '+', '-':
		return frame[1 : len(frame)-2], true
	case '$', '!', '=':
		size, body := number(frame, 1)
		if body == 0 || len(frame)-body < size {
			return nil, false
		}
		s = frame[body : body+size]
		if frame[0] == '=' && size >= 4 { // "txt:"
			s = s[4:]
		}
		return s, true
	}
	return nil, false
}

// Int is the value of frame, one complete integer.
func Int(frame []byte) (v int64, ok bool) {
	frame = withoutAttributes(frame)
	if len(frame) < smallestValue || frame[0] != ':' {
		return 0, false
	}
	v, err := strconv.ParseInt(string(frame[1:len(frame)-2]), 10, 64)
	return v, err == nil
}

// withoutAttributes is what the attributes in front of frame describe.
func withoutAttributes(frame []byte) []byte {
	for len(frame) > 0 && frame[0] == '|' {
		_, count, rest := aggregate(frame)
		for count *= 2; count > 0; count-- {
			n := first(rest)
			if n == 0 {
				return nil
			}
			rest = rest[n:]
		}
		frame = rest
	}
	return frame
}

// aggregate is the header of frame and what follows it; a count of 0 and nothing
// if frame is no aggregate.
func aggregate(frame []byte) (c class, count int, rest []byte) {
	if len(frame) == 0 || classes[frame[0]] < array {
		return 0, 0, nil
	}
	count, next := number(frame, 1)
	if next == 0 {
		return 0, 0, nil
	}
	return classes[frame[0]], count, frame[next:]
}

// first is the length of the value that p begins with, 0 if it is not all there.
func first(p []byte) int {
	var r Reply
	if n, done, _ := r.Scan(p); done {
		return n
	}
	return 0
}
