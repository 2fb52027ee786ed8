package framing

// followBody takes what is left of a body or of a chunk's data.
func (g *Guard) followBody(p []byte, next state) int {
	n := len(p)
	if uint64(n) >= g.left {
		n = int(g.left)
		g.state = next
	}
	g.left -= uint64(n)
	return n
}

func (g *Guard) beginChunk() { g.state, g.left, g.digits, g.section = size, 0, 0, 0 }

// maxSizeDigits is how many net/http takes, leading zeros included.
const maxSizeDigits = 16

func (g *Guard) followSize(p []byte) (int, Fault) {
	for n, c := range p {
		digit, isDigit := hexDigit(c)
		switch {
		case isDigit:
			if g.digits == maxSizeDigits || g.left >= 1<<(63-4) {
				return n, ChunkSize
			}
			g.left = g.left<<4 | uint64(digit)
			g.digits++
		case c == ';' && g.digits > 0:
			g.state = ext
			return n + 1, 0
		case c == '\r' && g.digits > 0:
			g.state = sizeLF
			return n + 1, 0
		default:
			return n, of(c, ChunkSize)
		}
	}
	return len(p), 0
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// followExtension takes a chunk's extensions, whatever they say (RFC 9112
// section 7.1.1: one that is not known is ignored).
func (g *Guard) followExtension(p []byte) (int, Fault) {
	for n, c := range p {
		switch {
		case c == '\r':
			g.state = sizeLF
			return n + 1, 0
		case c < ' ' && c != '\t', c == 0x7f:
			return n, of(c, ControlByte)
		case g.section == MaxChunkExtension:
			return n, ChunkExtension
		}
		g.section++
	}
	return len(p), 0
}

// endSize is behind the CR of a chunk's line.
func (g *Guard) endSize(c byte) (int, Fault) {
	if c != '\n' {
		return 0, BareCR
	}
	g.section, g.digits = 0, 0
	if g.left > 0 {
		g.state = data
		return 1, 0
	}
	g.state, g.trailing = line, true
	return 1, 0
}
