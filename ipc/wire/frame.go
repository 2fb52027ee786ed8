// Package wire is the data protocol's alphabet: frames and the two heads, as
// bytes. It knows nothing of connections, workers or HTTP semantics, so both
// decoders can be fuzzed alone. The protocol itself is told in package ipc.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version of the data protocol. A worker that speaks another is refused at its
// start, before it gets a request.
const Version = 1

// Type is a frame's first byte. S is the supervisor, W the worker.
type Type byte

const (
	Hello    Type = 1  // S→W, first on every connection: version, board slot
	Request  Type = 2  // S→W: a request's head
	Data     Type = 3  // both: a piece of a body
	End      Type = 4  // both: a body's end, with its trailers
	Inform   Type = 5  // W→S: an informational (1xx) answer
	Continue Type = 6  // W→S: the handler wants the body of an Expect: 100-continue
	Response Type = 7  // W→S: the final answer's head
	Fail     Type = 8  // W→S: in place of a head or of the rest of a body
	Hijack   Type = 9  // W→S: from here on the connection carries raw bytes, both ways
	Probe    Type = 10 // S→W: are you alive?
	Alive    Type = 11 // W→S: yes
)

// HeaderLen is the size of a frame's header: its type and a 24-bit length.
const HeaderLen = 4

// Bounds of a frame's payload in bytes. A frame over its bound ends the
// connection, so neither side can be made to buffer more.
const (
	MaxHead = 2 << 20 // Request, Response, Inform, End
	MaxData = 64 << 10
	MaxFail = 8 << 10
)

// ErrProtocol is wrapped by every complaint about a peer's bytes.
var ErrProtocol = errors.New("data protocol violated")

// Violation is an ErrProtocol that says what was wrong.
func Violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

func (t Type) max() int {
	switch t {
	case Request, Response, Inform, End:
		return MaxHead
	case Data:
		return MaxData
	case Fail:
		return MaxFail
	case Hello:
		return 16
	case Continue, Hijack, Probe, Alive:
		return 0
	}
	return -1
}

// ParseHeader reads a frame's header from the first HeaderLen bytes of b.
func ParseHeader(b []byte) (Type, int, error) {
	t := Type(b[0])
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	limit := t.max()
	if limit < 0 {
		return 0, 0, Violation("unknown frame type %d", b[0])
	}
	if n > limit {
		return 0, 0, Violation("frame of type %d and %d bytes, at most %d are allowed", t, n, limit)
	}
	return t, n, nil
}

// PutHeader writes a frame's header into the first HeaderLen bytes of b.
func PutHeader(b []byte, t Type, n int) {
	b[0], b[1], b[2], b[3] = byte(t), byte(n>>16), byte(n>>8), byte(n)
}

// AppendEmpty appends a frame without payload.
func AppendEmpty(b []byte, t Type) []byte { return append(b, byte(t), 0, 0, 0) }

// begin appends a header whose length finish fills in.
func begin(b []byte, t Type) ([]byte, int) {
	return append(b, byte(t), 0, 0, 0), len(b)
}

func finish(b []byte, at int) []byte {
	PutHeader(b[at:], Type(b[at]), len(b)-at-HeaderLen)
	return b
}

// Fits reports whether a frame that was appended whole is within MaxHead. One
// that is not must not be sent: the length of a frame has 24 bits, and what goes
// beyond would be read as frames of their own.
func Fits(frame []byte) bool { return len(frame) <= HeaderLen+MaxHead }

// AppendHello appends the frame that opens a connection.
func AppendHello(b []byte, slot uint32) []byte {
	b, at := begin(b, Hello)
	b = append(b, Version)
	b = binary.BigEndian.AppendUint32(b, slot)
	return finish(b, at)
}

// ParseHello returns the board slot of a connection.
func ParseHello(p []byte) (slot uint32, err error) {
	if len(p) != 5 {
		return 0, Violation("hello of %d bytes", len(p))
	}
	if p[0] != Version {
		return 0, Violation("data protocol version %d, this side speaks %d", p[0], Version)
	}
	return binary.BigEndian.Uint32(p[1:]), nil
}
