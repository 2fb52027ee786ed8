package framing

// Bounds of what a Guard passes. Those of net/http for the head as a whole, and
// the caller's, are for others to keep.
const (
	MaxEmptyLines     = 2       // before a request line: RFC 9112 section 2.2 speaks of one
	MaxChunkExtension = 256     // bytes behind a chunk's size
	MaxTrailers       = 4 << 10 // bytes, the empty line at their end included; more would not pass net/http
)

// Poison is what a server that must refuse a faulty request can be given behind
// the sound bytes. net/http refuses it wherever a Guard may stop: in a request
// line, in a field, in the line and behind the data of a chunk, in trailers. Its
// empty lines keep the server from waiting for more.
const Poison = "\r\x00\n\r\n\r\n"

// preface is how an HTTP/2 connection begins (RFC 9113 section 3.4), with what
// net/http takes for a request when no more of it comes.
const (
	prefaceHead = "PRI * HTTP/2.0\r\n\r\n"
	preface     = prefaceHead + "SM\r\n\r\n"
)

// state is what the next byte is about. The first is that of the zero Guard.
type state uint8

const (
	fresh   state = iota // nothing came yet, or a part of the preface
	between              // two requests: empty lines, or the next method
	emptyLF              // of an empty line before a request
	method               // of the request line
	target               // of the request line
	version              // of the request line
	lineLF               // of the request line
	line                 // a field begins, or the section ends
	name                 // of a field
	value                // of a field
	valueLF              // of a field line
	endLF                // of the empty line that ends a head or the trailers
	fixed                // a body of known length
	size                 // of a chunk
	ext                  // extension of a chunk
	sizeLF               // of a chunk's line
	data                 // of a chunk
	dataCR               // behind it
	dataLF               // behind it
	stopped              // at a fault
)

// A Guard follows one connection. Its zero value is ready for a connection that
// speaks HTTP/1. It is not safe for concurrent use; its methods do not block.
type Guard struct {
	// PriorKnowledge allows the connection to begin with HTTP/2. It is set
	// before the first Follow.
	PriorKnowledge bool

	state   state
	aside   bool
	fault   Fault
	inBody  bool  // the fault is in a body, or in what ends it
	matched uint8 // bytes of the preface so far
	empty   uint8 // lines before the request

	// The request.
	heads    uint64     // complete ones so far
	method   uint64     // its last eight bytes
	minor    byte       // of the version: '0' or '1'
	at       uint8      // how much came of the version, or of the field value's word
	filled   bool       // the target is not empty
	length   bool       // a Content-Length came
	coding   bool       // a Transfer-Encoding came
	upgrade  bool       // an Upgrade came
	held     bool       // its head ended, has an Upgrade and no body, and nothing came since
	trailing bool       // its trailers began
	left     uint64     // bytes of the body or of the chunk
	digits   uint8      // of the number that left is becoming
	section  int        // bytes of the chunk's extension, or of the trailers
	absolute *authority // nil: the target is in origin form

	// The field.
	field   field
	padded  bool // white space followed the value
	nameLen uint8
	name    [maxName]byte // its beginning, when a read ended within it
}

// Follow takes the next bytes of the connection. The first n of them may be
// handed to the server.
//
// With an error, which is a Fault, no later ones ever may, and each further call
// returns the same. The server has then never seen the end of the head, chunk or
// trailers that the fault is in, unless that is the head of a preface that does
// not go on as one.
//
// Without one n is less than len(p) in one case: p[:n] ends with a head that
// asks for an upgrade and has no body. What the rest is depends on the answer.
// When the connection has left HTTP/1 the caller calls StepAside; when the
// server goes on to read requests it calls Follow again with the rest.
func (g *Guard) Follow(p []byte) (n int, err error) {
	switch {
	case g.aside:
		return len(p), nil
	case g.fault != 0:
		return 0, g.fault
	case len(p) > 0:
		g.held = false
	}
	for n < len(p) && !g.aside && !g.held {
		q := p[n:]
		bounded := g.trailing
		if bounded {
			q = q[:min(len(q), MaxTrailers-g.section)]
			if len(q) == 0 {
				return n, g.stop(TrailerSize)
			}
		}
		used, fault := g.step(q)
		if fault != 0 {
			return n + used, g.stop(fault)
		}
		if bounded {
			g.section += used
		}
		n += used
	}
	if g.aside {
		return len(p), nil
	}
	return n, nil
}

func (g *Guard) stop(f Fault) Fault {
	g.inBody = g.trailing || g.state >= fixed
	if g.state == between || g.state == emptyLF {
		g.method = 0 // was of the request before
	}
	g.state, g.fault = stopped, f
	return f
}

// StepAside ends the guard's work: the connection does not speak HTTP/1 any more.
func (g *Guard) StepAside() { g.aside = true }

// Aside reports whether the guard has stepped aside.
func (g *Guard) Aside() bool { return g.aside }

// Fault is what Follow stopped at; zero: nothing. inBody reports whether that
// was behind the head of a request, which its server may have begun to handle.
func (g *Guard) Fault() (f Fault, inBody bool) { return g.fault, g.inBody }

// Heads is how many heads ended without a fault.
func (g *Guard) Heads() uint64 { return g.heads }

// Held reports whether the last byte ended a head that asks for an upgrade and
// has no body: what follows may be another protocol's.
func (g *Guard) Held() bool { return g.held }

// InHead reports whether a part of a head has come and not its end. Empty lines
// before it are none of it.
func (g *Guard) InHead() bool {
	switch g.state {
	case fresh:
		return g.matched > 0 && int(g.matched) < len(prefaceHead)
	case method, target, version, lineLF, line, name, value, valueLF, endLF:
		return !g.trailing && !g.aside
	}
	return false
}

// Between reports whether the last byte was the end of a request, or none came.
func (g *Guard) Between() bool { return g.state == between || g.state == fresh && g.matched == 0 }

// HEAD reports whether the request line that came last is that of a HEAD.
func (g *Guard) HEAD() bool {
	return g.method == 'H'<<24|'E'<<16|'A'<<8|'D' && g.state != method
}

// step goes on in p, which is not empty, by as many bytes as one state takes.
func (g *Guard) step(p []byte) (int, Fault) {
	switch g.state {
	case fresh:
		return g.open(p)
	case between:
		return g.begin(p)
	case method:
		return g.followMethod(p)
	case target:
		return g.followTarget(p)
	case version:
		return g.followVersion(p)
	case line:
		return g.followLine(p)
	case name:
		return g.followName(p)
	case value:
		return g.followValue(p)
	case endLF:
		return g.endSection(p[0])
	case fixed:
		return g.followBody(p, between), 0
	case size:
		return g.followSize(p)
	case ext:
		return g.followExtension(p)
	case data:
		return g.followBody(p, dataCR), 0
	case dataCR:
		return g.then(p[0], '\r', dataLF, ChunkEnd)
	case dataLF:
		return g.then(p[0], '\n', size, ChunkEnd)
	case sizeLF:
		return g.endSize(p[0])
	case emptyLF:
		return g.then(p[0], '\n', between, BareCR)
	case lineLF, valueLF:
		return g.then(p[0], '\n', line, BareCR)
	}
	panic("framing: no such state")
}
