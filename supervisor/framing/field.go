package framing

import "math"

// field is what a field has to do with framing.
type field uint8

const (
	plain field = iota
	contentLength
	transferEncoding
	upgrade
	expect
	host // of a request whose target is in absolute form
)

// maxName is one more than the longest name that a Guard must know, so that a
// longer one is still longer when it is cut.
const maxName = len("proxy-authentication-info") + 1

// fieldOf finds a field of a head by its name.
func fieldOf(name []byte) field {
	switch len(name) {
	case len("expect"):
		if fold(name, "expect") {
			return expect
		}
	case len("upgrade"):
		if fold(name, "upgrade") {
			return upgrade
		}
	case len("content-length"):
		if fold(name, "content-length") {
			return contentLength
		}
	case len("transfer-encoding"):
		if fold(name, "transfer-encoding") {
			return transferEncoding
		}
	}
	return plain
}

// headOnly are fields that a recipient must not take from trailers (RFC 9110
// section 6.5.1): those of framing, of routing, of authentication, those that
// modify the request, and those that say how to read the body. net/http lets a
// client put any field there, over HTTP/2 too.
var headOnly = [...]string{
	"content-length", "transfer-encoding", "trailer", "te", "connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings",
	"host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port",
	"x-forwarded-prefix", "x-forwarded-server", "x-real-ip", "x-request-id", "via",
	"authorization", "authentication-info", "proxy-authorization", "proxy-authenticate", "proxy-authentication-info",
	"www-authenticate", "cookie", "cookie2", "set-cookie", "origin",
	"expect", "max-forwards", "cache-control", "pragma", "range", "idempotency-key",
	"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
	"content-encoding", "content-type", "content-range",
}

// HeadOnly reports whether a field has its place in the head only, and none among
// trailers. name is a token in any case.
func HeadOnly(name []byte) bool {
	for _, known := range headOnly {
		if len(known) == len(name) && fold(name, known) {
			return true
		}
	}
	return false
}

// fold compares a token with a word of as many lower-case letters, digits and
// hyphens. To set that bit makes a lower-case letter of its capital and of no
// other byte that a token has, and a digit or a hyphen of none.
func fold(name []byte, word string) bool {
	for i, c := range name {
		if c|0x20 != word[i] {
			return false
		}
	}
	return true
}

func (g *Guard) followName(p []byte) (int, Fault) {
	n := token(p)
	whole := p[:n]
	if n == len(p) || g.nameLen > 0 { // a read ended within it
		g.nameLen += uint8(copy(g.name[g.nameLen:], whole))
		if n == len(p) {
			return n, 0
		}
		whole = g.name[:g.nameLen]
	}
	switch c := p[n]; {
	case c == ':':
		if fault := g.beginValue(whole); fault != 0 {
			return n, fault
		}
		g.state = value
		return n + 1, 0
	case c == ' ', c == '\t':
		return n, SpaceBeforeColon
	default:
		return n, of(c, FieldName)
	}
}

// beginValue is behind a field's name.
func (g *Guard) beginValue(name []byte) Fault {
	g.at, g.digits, g.padded = 0, 0, false
	if g.trailing {
		g.field = plain
		if HeadOnly(name) {
			return TrailerField
		}
		return 0
	}
	g.field = fieldOf(name)
	if g.absolute != nil && len(name) == len("host") && fold(name, "host") {
		g.field, g.absolute.told = host, true
	}
	switch g.field {
	case contentLength:
		switch {
		case g.length:
			return TwoLengths
		case g.coding:
			return LengthAndCoding
		}
		g.length = true
	case transferEncoding:
		switch {
		case g.coding:
			return TwoCodings
		case g.length:
			return LengthAndCoding
		case g.minor == '0':
			return CodingVersion
		}
		g.coding = true
	case upgrade:
		g.upgrade = true
	}
	return 0
}

func (g *Guard) followValue(p []byte) (int, Fault) {
	switch g.field {
	case contentLength:
		return g.followLength(p)
	case transferEncoding:
		return g.followWord(p, "chunked", CodingValue)
	case expect:
		return g.followWord(p, "100-continue", Expectation)
	}
	n := text(p, ' ')
	for n < len(p) && p[n] == '\t' {
		n++
		n += text(p[n:], ' ')
	}
	if g.field == host {
		g.absolute.addHost(p[:n])
	}
	if n == len(p) {
		return n, 0
	}
	if p[n] != '\r' {
		return n, of(p[n], ControlByte)
	}
	g.state = valueLF
	return n + 1, 0
}

// followLength takes digits with white space around them.
func (g *Guard) followLength(p []byte) (int, Fault) {
	for n, c := range p {
		switch {
		case '0' <= c && c <= '9' && !g.padded:
			digit := uint64(c - '0')
			if g.left > (math.MaxInt64-digit)/10 {
				return n, LengthValue
			}
			g.left, g.digits = g.left*10+digit, 1
		case c == ' ', c == '\t':
			g.padded = g.digits > 0
		case c == '\r' && g.digits > 0:
			g.state = valueLF
			return n + 1, 0
		default:
			return n, of(c, LengthValue)
		}
	}
	return len(p), 0
}

// followWord takes one word in any case with white space around it. Expect may
// be empty: net/http takes that for none.
func (g *Guard) followWord(p []byte, word string, otherwise Fault) (int, Fault) {
	for n, c := range p {
		whole := int(g.at) == len(word)
		switch {
		case !whole && !g.padded && lower(c) == word[g.at]:
			g.at++
		case c == ' ', c == '\t':
			g.padded = g.at > 0
		case c == '\r' && (whole || g.at == 0 && g.field == expect):
			g.state = valueLF
			return n + 1, 0
		default:
			return n, of(c, otherwise)
		}
	}
	return len(p), 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
