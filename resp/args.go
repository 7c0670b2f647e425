package resp

import "bytes"

// Args appends the arguments of frame, one complete request, to dst. They point
// into frame and live as long as it; only an argument of an inline request whose
// quotes or escapes must be taken out is a copy. Of what is not a complete
// request it appends the arguments that can be read.
func Args(dst [][]byte, frame []byte) [][]byte {
	if len(frame) == 0 {
		return dst
	}
	if frame[0] != '*' {
		return splitLine(dst, frame)
	}
	count, n := number(frame, 1)
	for ; count > 0 && n < len(frame) && frame[n] == '$'; count-- {
		size, body := number(frame, n+1)
		end := body + size
		if body == 0 || end > len(frame) {
			break
		}
		dst = append(dst, frame[body:end:end])
		n = end + 2
	}
	return dst
}

// Name is the first argument of the request that p begins with, the command's
// name; nil if it has none or it is not all there. It points into p, save as
// Args says.
func Name(p []byte) []byte {
	// "*3\r\n$3\r\nSET": one digit each, as nearly every request has.
	if len(p) > 8 && p[0] == '*' && p[2] == '\r' && p[4] == '$' && p[6] == '\r' {
		if size := int(p[5] - '0'); size <= 9 && p[1]-'1' < 9 && len(p)-8 >= size {
			return p[8 : 8+size : 8+size]
		}
	}
	return longName(p)
}

func longName(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	if p[0] != '*' {
		return inlineName(p)
	}
	count, n := number(p, 1)
	if count == 0 || n >= len(p) || p[n] != '$' {
		return nil
	}
	size, body := number(p, n+1)
	if body == 0 || len(p)-body < size {
		return nil
	}
	return p[body : body+size : body+size]
}

func inlineName(p []byte) []byte {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return nil
	}
	name, _ := nextWord(p[:end], 0)
	return name
}
