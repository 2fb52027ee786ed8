package framing

import (
	"encoding/binary"
	"math/bits"
)

// tokenByte says which bytes a token has (RFC 9110 section 5.6.2).
var tokenByte = func() (is [256]bool) {
	for c := '0'; c <= '9'; c++ {
		is[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		is[c], is[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		is[c] = true
	}
	return is
}()

// token is how many bytes of a token p begins with.
func token(p []byte) int {
	for i, c := range p {
		if !tokenByte[c] {
			return i
		}
	}
	return len(p)
}

// text is how many bytes p begins with that are neither below the limit, at most
// 0x80, nor DEL. Eight at a time: the borrow of a byte that is one of those can
// only mark bytes behind it, and the first is what counts.
func text(p []byte, limit byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	rest := p
	for below := ones * uint64(limit); len(rest) >= 8; rest = rest[8:] {
		w := binary.LittleEndian.Uint64(rest)
		del := w ^ ones*0x7f
		if found := ((w-below)&^w | (del-ones)&^del) & highs; found != 0 {
			return len(p) - len(rest) + bits.TrailingZeros64(found)/8
		}
	}
	for i, c := range rest {
		if c < limit || c == 0x7f {
			return len(p) - len(rest) + i
		}
	}
	return len(p)
}

// then goes on to next when c is the byte that must come.
func (g *Guard) then(c, must byte, next state, otherwise Fault) (int, Fault) {
	if c != must {
		return 0, otherwise
	}
	g.state = next
	return 1, 0
}

// open looks for the preface of HTTP/2. What began like it and is none is
// followed as what it is then, a request.
func (g *Guard) open(p []byte) (int, Fault) {
	n := 0
	if g.PriorKnowledge {
		for n < len(p) && int(g.matched) < len(preface) && p[n] == preface[g.matched] {
			n++
			g.matched++
		}
		if int(g.matched) == len(preface) {
			g.aside = true
			return n, 0
		}
		if n == len(p) {
			return n, 0
		}
	}
	g.state = between
	for part := preface[:g.matched]; part != ""; {
		used, fault := g.step([]byte(part))
		if fault != 0 {
			return 0, fault
		}
		part = part[used:]
	}
	return n, 0
}

// begin is at the first byte of a request, or at an empty line before it.
func (g *Guard) begin(p []byte) (int, Fault) {
	c := p[0]
	if c == '\r' {
		if g.empty++; g.empty > MaxEmptyLines {
			return 0, EmptyLines
		}
		g.state = emptyLF
		return 1, 0
	}
	if !tokenByte[c] {
		if c == ' ' || c == '\t' {
			return 0, LeadingSpace
		}
		return 0, of(c, RequestLine)
	}
	g.state, g.empty, g.method = method, 0, 0
	g.filled, g.length, g.coding, g.upgrade, g.absolute = false, false, false, false, nil
	g.left, g.at = 0, 0
	return g.plainRequest(p), 0
}

// plainRequest goes on behind the request line that p begins with. It stays where
// it is unless the line is there whole, is sound, and of HTTP/1.1.
func (g *Guard) plainRequest(p []byte) int {
	const end = " HTTP/1.1\r\n"
	n := token(p)
	if n+1 >= len(p) || p[n] != ' ' || p[n+1] != '/' && p[n+1] != '*' {
		return 0
	}
	length := text(p[n+1:], '!')
	rest := p[n+1+length:]
	if length == 0 || len(rest) < len(end) || string(rest[:len(end)]) != end {
		return 0
	}
	g.packMethod(p[:n])
	g.state, g.minor = line, '1'
	return n + 1 + length + len(end)
}

func (g *Guard) packMethod(part []byte) {
	for _, c := range part {
		g.method = g.method<<8 | uint64(c)
	}
}

func (g *Guard) followMethod(p []byte) (int, Fault) {
	n := token(p)
	g.packMethod(p[:n])
	if n == len(p) {
		return n, 0
	}
	if p[n] != ' ' {
		return n, of(p[n], RequestLine)
	}
	g.state = target
	return n + 1, 0
}

func (g *Guard) followTarget(p []byte) (int, Fault) {
	n := text(p, '!')
	if !g.filled && n > 0 && p[0] != '/' && p[0] != '*' {
		g.absolute = new(authority)
	}
	if g.absolute != nil {
		g.absolute.target = keep(g.absolute.target, p[:n])
	}
	g.filled = g.filled || n > 0
	if n == len(p) {
		return n, 0
	}
	if p[n] != ' ' || !g.filled {
		return n, of(p[n], RequestLine)
	}
	g.state = version
	return n + 1, 0
}

// followVersion takes "HTTP/1.0" or "HTTP/1.1" and the CR behind it.
func (g *Guard) followVersion(p []byte) (int, Fault) {
	const before = "HTTP/1."
	for n, c := range p {
		switch {
		case int(g.at) < len(before) && c == before[g.at]:
		case int(g.at) == len(before) && (c == '0' || c == '1'):
			g.minor = c
		case int(g.at) > len(before) && c == '\r':
			g.state = lineLF
			return n + 1, 0
		case c == ' ':
			return n, RequestLine
		default:
			return n, of(c, Version)
		}
		g.at++
	}
	return len(p), 0
}

// followLine is at the beginning of a field line, or of the empty line.
func (g *Guard) followLine(p []byte) (int, Fault) {
	n := 0
	if !g.trailing && g.absolute == nil {
		for used := plainLine(p); used > 0; used = plainLine(p[n:]) {
			n += used
		}
		if n == len(p) {
			return n, 0
		}
	}
	switch c := p[n]; {
	case tokenByte[c]:
		g.state, g.nameLen = name, 0
		return n, 0
	case c == '\r':
		g.state = endLF
		if n++; n == len(p) {
			return n, 0
		}
		used, fault := g.endSection(p[n])
		return n + used, fault
	case c == ' ', c == '\t':
		return n, LeadingSpace
	default:
		return n, of(c, FieldName)
	}
}

// plainLine is the length of the field line that p begins with, and 0 unless it
// is there whole, is sound, and has no part in the framing.
func plainLine(p []byte) int {
	n := token(p)
	if n == 0 || n == len(p) || p[n] != ':' || fieldOf(p[:n]) != plain {
		return 0
	}
	for n++; ; n++ {
		n += text(p[n:], ' ')
		if n+1 >= len(p) {
			return 0
		}
		if p[n] != '\t' {
			break
		}
	}
	if p[n] != '\r' || p[n+1] != '\n' {
		return 0
	}
	return n + 2
}

// endSection is behind the CR of the empty line that ends a head or trailers.
func (g *Guard) endSection(c byte) (int, Fault) {
	if c != '\n' {
		return 0, BareCR
	}
	if !g.trailing && g.absolute != nil && g.absolute.differ() {
		return 0, OtherHost
	}
	g.state = between
	if g.trailing {
		g.trailing = false
		return 1, 0
	}
	g.heads++
	switch {
	case g.coding:
		g.beginChunk()
	case g.left > 0:
		g.state = fixed
	default:
		g.held = g.upgrade
	}
	return 1, 0
}
