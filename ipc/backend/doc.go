// Package backend is how a worker calls its backend: a client of HTTP/1.1 and
// HTTP/2 that tells the truth about what it sent.
//
// # Why not net/http's Transport
//
// The standard transport resends a request on its own when a reused connection
// dies, and with an Idempotency-Key any bodiless one; nobody behind it can then
// say what the backend saw. This one writes a request at most once, to one
// connection. What it cannot prove it reports as unknown: see [exchange.Stage].
// It also starts no goroutine for a request without a body, and no timer.
//
// # One exchange
//
// Over HTTP/1.1 everything happens on the caller's goroutine: take an idle connection or dial,
// write the head, read the answer's head, return; the body is read by whoever
// reads the [http.Response]. Only a request body that is not at hand already is
// copied by a goroutine, so that an answer which comes early is seen at once.
// That goroutine alone reads and closes the request's body. It ends with the
// body, with the connection, or with the answer, whichever is first; a Read of
// the body that is pending then must be ended by whoever owns the body, as the
// server of net/http does when its handler returns.
//
// # Whose connection it is
//
// A connection belongs to one exchange or to the idle list, never to both.
// Cancelling marks and closes it under its lock; the mark is looked at after the
// exchange was detached, so a cancelled connection cannot return to the list.
// It returns there only when the request was written whole, the answer was read
// whole, nothing was left over, and both sides wish to go on. Before it is used
// again it is looked at: bytes that nobody asked for, or an end, and it is thrown
// away.
//
// # HTTP/2
//
// It is spoken where the backend chooses it by ALPN, or is known to speak it
// ([Protocol]). Frames and header compression are those of golang.org/x/net/http2,
// of which this package is the one home: the Framer and hpack, which are sound and
// know nothing of requests. Its ClientConn is left out. It hides what is to be
// reported here: whether the head was written is not to be had from its errors;
// it hands on informational answers from the goroutine that reads for everybody,
// so that one slow client holds up all; it mends what must be refused, such as two
// Content-Lengths; and it ends an upload on its own when an answer is an error.
//
// A connection has two goroutines. One reads, and never writes: a peer that only
// writes would stop both sides. The other writes what the reader and the cancelled
// leave to it, and keeps the time: idle connections, and a sign of life from a
// silent one. Heads and bodies are written by their exchanges. All streams together
// can hold less than the connection's window, so a slow reader holds up itself
// only.
//
// Nothing of a request is written before the peer's SETTINGS are in, and nothing
// before the stage is noted. A number above the last one of a GOAWAY, or
// REFUSED_STREAM, is proof that the request was not taken up: the report is taken
// back ([exchange.Retractor]), and whoever makes repeats may make one. This package
// makes none.
//
// # Which connection
//
// One with a place and, for a request with a body, with 16 KiB of room in the
// window that all its streams share (or as much as the body is long): a body that
// the backend does not read may have used that up, and would hold up all that
// follow it until its own time ends (RFC 9113 section 5.2.1 leaves it to the
// receiver to prevent that). For want of room up to four connections to an origin
// are dialled, and then the widest serves; for want of places as many as the
// requests in flight take. Who waits for a dial takes a place or room that gets
// free meanwhile. A connection past its age serves until its successor stands,
// and goes on while none can be had.
//
// # What an answer must be
//
// One framing or none. Two Content-Lengths (equal ones too), Content-Length with
// Transfer-Encoding, a coding other than chunked, folded fields, control bytes,
// chunk lines that are not exact: [exchange.BackendProtocol]. An answer shorter
// than it said: [exchange.BackendReset], never a clean end. Over HTTP/2 the same
// holds as far as it has the thing, with fields of HTTP/1.1 connections in the
// place of codings; an answer that ends, and is shorter than it said, is
// [exchange.BackendProtocol].
//
// # Drills
//
// Where the exchange has a drill on ([exchange.Driller]), the backend seems to
// refuse, to be slow, or to answer garbage. Without one that costs a look.
package backend
