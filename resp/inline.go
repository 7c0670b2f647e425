package resp

// quoting is where in an inline request's line a byte stands, as far as
// sdssplitargs' quotes go.
type quoting uint8

const (
	between      quoting = iota // in the white space around arguments
	bare                        // in an argument, outside of quotes
	double                      // in "..."
	doubleEscape                // after a \ in "..."
	single                      // in '...'
	singleEscape                // after a \ in '...'
	closed                      // after a closing quote, which white space must follow
	broken                      // something else followed it
	afterNUL                    // the line has no end any more
)

// next is where the byte after c stands. C is never the LF that ends the line.
func (q quoting) next(c byte) quoting {
	if c == 0 || q == afterNUL {
		return afterNUL
	}
	switch q {
	case between, bare:
		switch {
		case c == '"':
			return double
		case c == '\'':
			return single
		case q == between && isSpace(c), endsBare(c):
			return between
		}
		return bare
	case double:
		switch c {
		case '"':
			return closed
		case '\\':
			return doubleEscape
		}
		return double
	case doubleEscape: // of \x41 too: its digits neither quote nor escape
		return double
	case single, singleEscape:
		switch {
		case c == '\\':
			return singleEscape
		case c == '\'' && q == single:
			return closed
		}
		return single
	case closed:
		if isSpace(c) {
			return between
		}
	}
	return broken
}

// open says that the line must not end here.
func (q quoting) open() bool {
	return q != between && q != bare && q != closed
}

// isSpace is the C locale's isspace.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// endsBare says which bytes end an argument outside of quotes: fewer than
// isspace, so that a vertical tab belongs to the argument that it follows.
func endsBare(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0 }

// splitLine appends the arguments of an inline request's line to dst.
func splitLine(dst [][]byte, line []byte) [][]byte {
	for arg, next := nextWord(line, 0); arg != nil; arg, next = nextWord(line, next) {
		dst = append(dst, arg)
	}
	return dst
}

// nextWord reads the next argument from line[i:]; nil if there is none.
func nextWord(line []byte, i int) (arg []byte, next int) {
	for i < len(line) && isSpace(line[i]) {
		i++
	}
	if i == len(line) || line[i] == 0 {
		return nil, i
	}
	return readWord(line, i)
}

// readWord reads the argument that begins at line[i], by sdssplitargs' rules:
// "..." knows escapes, '...' only \', and a closing quote ends the argument. Next
// is where the search for the following one begins; nil is unbalanced quotes.
func readWord(line []byte, i int) (arg []byte, next int) {
	w := word{line: line, from: i, to: i}
	var quote byte
	for ; i < len(line); i++ {
		c := line[i]
		more := line[i+1:]
		switch {
		case quote == 0 && endsBare(c):
			return w.bytes(), i
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0:
			w.keep(i)
		case c == quote:
			if len(more) > 0 && !isSpace(more[0]) {
				return nil, 0
			}
			return w.bytes(), i + 1
		case c == '\\' && quote == '"' && len(more) >= 3 && more[0] == 'x' && isHex(more[1]) && isHex(more[2]):
			w.put(unhex(more[1])<<4 | unhex(more[2]))
			i += 3
		case c == '\\' && quote == '"' && len(more) >= 1:
			i++
			w.escaped(i)
		case c == '\\' && quote == '\'' && len(more) >= 1 && more[0] == '\'':
			i++
			w.keep(i)
		default:
			w.keep(i)
		}
	}
	if quote != 0 {
		return nil, 0
	}
	return w.bytes(), i
}

// word is an argument in the making. It points into the line as long as its
// bytes stand there side by side, and is copied when they cease to.
type word struct {
	line     []byte
	from, to int
	copied   []byte
}

// keep adds line[i].
func (w *word) keep(i int) {
	switch {
	case w.copied != nil:
		w.copied = append(w.copied, w.line[i])
	case w.from == w.to:
		w.from, w.to = i, i+1
	case w.to == i:
		w.to++
	default:
		w.put(w.line[i])
	}
}

// put adds a byte that does not stand in the line, or not there.
func (w *word) put(c byte) {
	if w.copied == nil {
		w.copied = append([]byte(nil), w.line[w.from:w.to]...)
	}
	w.copied = append(w.copied, c)
}

// escaped adds what line[i] means after a \ in "...".
func (w *word) escaped(i int) {
	switch w.line[i] {
	case 'n':
		w.put('\n')
	case 'r':
		w.put('\r')
	case 't':
		w.put('\t')
	case 'b':
		w.put('\b')
	case 'a':
		w.put('\a')
	default:
		w.keep(i)
	}
}

func (w *word) bytes() []byte {
	if w.copied != nil {
		return w.copied
	}
	return w.line[w.from:w.to:w.to]
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
