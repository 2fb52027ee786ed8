// Package backend is how a worker calls its backend: an HTTP/1.1 client that
// tells the truth about what it sent.
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
// Everything happens on the caller's goroutine: take an idle connection or dial,
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
// # What an answer must be
//
// One framing or none. Two Content-Lengths (equal ones too), Content-Length with
// Transfer-Encoding, a coding other than chunked, folded fields, control bytes,
// chunk lines that are not exact: [exchange.BackendProtocol]. An answer shorter
// than it said: [exchange.BackendReset], never a clean end.
//
// # Drills
//
// Where the exchange has a drill on ([exchange.Driller]), the backend seems to
// refuse, to be slow, or to answer garbage. Without one that costs a look.
package backend
