package framing

// Fault is why a Guard goes no further. It is an error whose text is a sentence
// for the client; it never repeats what the client sent. The zero Fault is none.
type Fault uint8

// The faults. Each is final for its connection.
const (
	RequestLine Fault = iota + 1
	Version
	EmptyLines
	BareLF
	BareCR
	ControlByte
	LeadingSpace
	FieldName
	SpaceBeforeColon
	TwoLengths
	LengthAndCoding
	LengthValue
	TwoCodings
	CodingValue
	CodingVersion
	Expectation
	ChunkSize
	ChunkExtension
	ChunkEnd
	TrailerField
	TrailerSize
	OtherHost
)

var sentences = [...]string{
	RequestLine:      "The request line is not a method, a target and a version with one space between them.",
	Version:          "The version of the request is not HTTP/1.0 or HTTP/1.1.",
	EmptyLines:       "There are too many empty lines before the request.",
	BareLF:           "A line ends with LF instead of CRLF.",
	BareCR:           "There is a CR that is not the end of a line.",
	ControlByte:      "There is a control byte in the head, in a chunk's line or in the trailers.",
	LeadingSpace:     "A line of the head or of the trailers begins with white space: fields must not be folded.",
	FieldName:        "A field has no name, or one that is not a token.",
	SpaceBeforeColon: "There is white space between a field's name and its colon.",
	TwoLengths:       "The request has more than one Content-Length.",
	LengthAndCoding:  "The request has a Content-Length and a Transfer-Encoding.",
	LengthValue:      "The Content-Length is not one decimal number of at most 63 bits.",
	TwoCodings:       "The request has more than one Transfer-Encoding.",
	CodingValue:      "The Transfer-Encoding is not chunked and nothing else.",
	CodingVersion:    "The request has a Transfer-Encoding, which HTTP/1.0 does not know.",
	Expectation:      "The request expects something other than 100-continue.",
	ChunkSize:        "The size of a chunk is not one hexadecimal number of at most 63 bits.",
	ChunkExtension:   "The extension of a chunk is longer than 256 bytes.",
	ChunkEnd:         "A chunk does not end where its size says.",
	TrailerField:     "The trailers have a field that must stand in the head.",
	TrailerSize:      "The trailers are larger than 4 KiB.",
	OtherHost:        "The request target and the Host field name different hosts.",
}

// Error implements error.
func (f Fault) Error() string { return sentences[f] }

// of is what is wrong with a byte that does not belong where it stands.
func of(c byte, otherwise Fault) Fault {
	switch {
	case c == '\n':
		return BareLF
	case c < ' ' && c != '\t' && c != '\r', c == 0x7f:
		return ControlByte
	}
	return otherwise
}
