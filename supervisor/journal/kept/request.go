package kept

import (
	"encoding/binary"
	"net/http"
)

// Request is what it takes to send a request again. Header fields may have any
// bytes, so they are not written as text.
type Request struct {
	Method     string
	Host       string
	Target     string // path and query, byte for byte
	RemoteAddr string
	Header     http.Header
	Trailer    http.Header
	Body       []byte
}

// marshal writes each text with its length before it, and each list with how many
// it has, as uvarints.
func (r *Request) marshal() []byte {
	b := make([]byte, 0, 1024+len(r.Body))
	for _, text := range [...]string{r.Method, r.Host, r.Target, r.RemoteAddr} {
		b = appendText(b, text)
	}
	b = appendFields(appendFields(b, r.Header), r.Trailer)
	return append(b, r.Body...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendFields(b []byte, h http.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(h)))
	for name, values := range h {
		b = binary.AppendUvarint(appendText(b, name), uint64(len(values)))
		for _, value := range values {
			b = appendText(b, value)
		}
	}
	return b
}

// unmarshal is the reverse of marshal. The body is a part of b.
func unmarshal(b []byte) (*Request, error) {
	in := input{rest: b}
	r := &Request{Method: in.text(), Host: in.text(), Target: in.text(), RemoteAddr: in.text(), Header: in.fields(), Trailer: in.fields()}
	if in.bad {
		return nil, ErrDamaged
	}
	r.Body = in.rest
	return r, nil
}

// input is what is still to be read; once bad it gives zero values.
type input struct {
	rest []byte
	bad  bool
}

func (in *input) number() int {
	n, width := binary.Uvarint(in.rest)
	if width <= 0 || n > uint64(len(in.rest)-width) { // what it counts takes a byte each at least
		in.bad, in.rest = true, nil
		return 0
	}
	in.rest = in.rest[width:]
	return int(n)
}

func (in *input) text() string {
	n := in.number()
	text := string(in.rest[:n])
	in.rest = in.rest[n:]
	return text
}

func (in *input) fields() http.Header {
	h := make(http.Header)
	for range in.number() {
		name := in.text()
		for range in.number() {
			h[name] = append(h[name], in.text())
		}
		if in.bad {
			break
		}
	}
	if len(h) == 0 {
		return nil
	}
	return h
}
