package wire

import (
	"encoding/binary"
	"net/http"
	"net/textproto"
)

// RequestHead is what crosses the wall ahead of a request's body.
type RequestHead struct {
	Seq           uint32 // names the exchange on the stage board
	Timeout       uint32 // milliseconds left until the answer's head is due; 0: no deadline
	ContentLength int64  // -1: unknown
	NoBody        bool   // no Data and no End follow
	Expect        bool   // the body waits for a Continue frame
	TLS           bool   // the client came over TLS
	ProtoMajor    byte
	ProtoMinor    byte
	Method        string
	Target        string // request-target, byte for byte
	Host          string
	RemoteAddr    string
	Header        http.Header
	Trailer       http.Header // announced names, nil values
}

// ResponseHead is a final or informational answer's head.
type ResponseHead struct {
	Status        int
	ContentLength int64 // -1: unknown
	NoBody        bool  // no Data and no End follow
	Header        http.Header
	Trailer       http.Header // announced names, nil values
}

const (
	flagNoBody = 1 << iota
	flagExpect
	flagTLS
)

// maxFields bounds the fields of a head or trailer that a decoder accepts: the
// slices for them are made before they are read.
const maxFields = 20000

// AppendRequest appends h as a frame.
func AppendRequest(b []byte, h *RequestHead) []byte {
	b, at := begin(b, Request)
	b = binary.BigEndian.AppendUint32(b, h.Seq)
	b = binary.BigEndian.AppendUint32(b, h.Timeout)
	var flags byte
	if h.NoBody {
		flags |= flagNoBody
	}
	if h.Expect {
		flags |= flagExpect
	}
	if h.TLS {
		flags |= flagTLS
	}
	b = append(b, flags, h.ProtoMajor, h.ProtoMinor)
	b = binary.AppendVarint(b, h.ContentLength)
	b = appendString(b, h.Method)
	b = appendString(b, h.Target)
	b = appendString(b, h.Host)
	b = appendString(b, h.RemoteAddr)
	b = appendFields(b, h.Header)
	b = appendFields(b, h.Trailer)
	return finish(b, at)
}

// ParseRequest decodes a Request frame's payload into h. Nothing in h points
// into p afterwards.
func ParseRequest(p []byte, h *RequestHead) error {
	d := decoder{rest: string(p)}
	h.Seq = d.uint32()
	h.Timeout = d.uint32()
	flags := d.byte()
	h.NoBody, h.Expect, h.TLS = flags&flagNoBody != 0, flags&flagExpect != 0, flags&flagTLS != 0
	h.ProtoMajor, h.ProtoMinor = d.byte(), d.byte()
	h.ContentLength = d.varint()
	h.Method = d.string()
	h.Target = d.string()
	h.Host = d.string()
	h.RemoteAddr = d.string()
	h.Header = d.fields()
	h.Trailer = d.fields()
	if d.bad || d.rest != "" {
		return Violation("malformed request head")
	}
	if h.Method == "" || h.Target == "" || h.ContentLength < -1 || h.NoBody && h.ContentLength > 0 {
		return Violation("impossible request head")
	}
	return nil
}

// AppendResponse appends h as a frame of type Response or Inform.
func AppendResponse(b []byte, t Type, h *ResponseHead) []byte {
	b, at := begin(b, t)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Status))
	var flags byte
	if h.NoBody {
		flags |= flagNoBody
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(h.ContentLength))
	b = appendFields(b, h.Header)
	b = appendFields(b, h.Trailer)
	return finish(b, at)
}

// SetLength changes the length in an encoded Response frame: it is often known
// only when the handler has returned, while the fields are fixed earlier.
func SetLength(frame []byte, length int64, noBody bool) {
	frame[HeaderLen+2] &^= flagNoBody
	if noBody {
		frame[HeaderLen+2] |= flagNoBody
	}
	binary.BigEndian.PutUint64(frame[HeaderLen+3:], uint64(length))
}

// ParseResponse decodes a Response or Inform frame's payload into h. Nothing in
// h points into p afterwards.
func ParseResponse(p []byte, h *ResponseHead) error {
	d := decoder{rest: string(p)}
	h.Status = int(d.uint16())
	h.NoBody = d.byte()&flagNoBody != 0
	h.ContentLength = d.int64()
	h.Header = d.fields()
	h.Trailer = d.fields()
	if d.bad || d.rest != "" {
		return Violation("malformed response head")
	}
	// net/http panics on a status outside 100..999.
	if h.Status < 100 || h.Status > 999 || h.ContentLength < -1 {
		return Violation("impossible response head: status %d, length %d", h.Status, h.ContentLength)
	}
	if h.Header == nil {
		h.Header = make(http.Header)
	}
	return nil
}

// AppendEnd appends the frame that ends a body.
func AppendEnd(b []byte, trailer http.Header) []byte {
	b, at := begin(b, End)
	if len(trailer) > 0 {
		b = appendFields(b, trailer)
	}
	return finish(b, at)
}

// ParseEnd returns the trailers of an End frame, nil when there are none.
func ParseEnd(p []byte) (http.Header, error) {
	if len(p) == 0 {
		return nil, nil
	}
	d := decoder{rest: string(p)}
	h := d.fields()
	if d.bad || d.rest != "" {
		return nil, Violation("malformed trailers")
	}
	return h, nil
}

// AppendFail appends a Fail frame; its words are cut to fit.
func AppendFail(b []byte, fault string, stage byte, detail string) []byte {
	b, at := begin(b, Fail)
	b = append(b, stage)
	b = appendString(b, fault[:min(len(fault), 64)])
	b = appendString(b, detail[:min(len(detail), MaxFail/2)])
	return finish(b, at)
}

// ParseFail decodes a Fail frame's payload.
func ParseFail(p []byte) (fault string, stage byte, detail string, err error) {
	d := decoder{rest: string(p)}
	stage = d.byte()
	fault = d.string()
	detail = d.string()
	if d.bad || d.rest != "" || fault == "" {
		return "", 0, "", Violation("malformed failure")
	}
	return fault, stage, detail, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendFields writes: names, values in all, then per name its values. A nil
// slice of values (an announced trailer) is no values.
func appendFields(b []byte, h http.Header) []byte {
	values := 0
	for _, v := range h {
		values += len(v)
	}
	b = binary.AppendUvarint(b, uint64(len(h)))
	b = binary.AppendUvarint(b, uint64(values))
	for k, vv := range h {
		b = appendString(b, k)
		b = binary.AppendUvarint(b, uint64(len(vv)))
		for _, v := range vv {
			b = appendString(b, v)
		}
	}
	return b
}

// decoder takes values off one string, so that a head costs one copy: all that
// it hands out are substrings. After an error everything reads as zero.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) take(n int) string {
	if d.bad || n > len(d.rest) {
		d.bad, d.rest = true, ""
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) byte() byte {
	if s := d.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if s := d.take(2); s != "" {
		return uint16(s[0])<<8 | uint16(s[1])
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if s := d.take(4); s != "" {
		return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
	}
	return 0
}

func (d *decoder) int64() int64 {
	return int64(uint64(d.uint32())<<32 | uint64(d.uint32()))
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return v
		}
	}
	d.bad, d.rest = true, ""
	return 0
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return ""
	}
	return d.take(int(n))
}

// fields reads what appendFields wrote; nil when there are none. Every name and
// value takes a byte at least, which bounds what is made for a lying count.
// Names become canonical, and may come once: "content-length" must not travel
// beside "Content-Length", unseen by whoever looks for that.
func (d *decoder) fields() http.Header {
	names, values := d.uvarint(), d.uvarint()
	if names > maxFields || values > maxFields || names+values > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return nil
	}
	if names == 0 {
		if values != 0 {
			d.bad = true
		}
		return nil
	}
	h := make(http.Header, names)
	slab := make([]string, values)
	for range names {
		k := textproto.CanonicalMIMEHeaderKey(d.string())
		n := d.uvarint()
		if d.bad || n > uint64(len(slab)) {
			d.bad = true
			return nil
		}
		vv := slab[:n:n]
		slab = slab[n:]
		for i := range vv {
			vv[i] = d.string()
		}
		if n == 0 {
			vv = nil
		}
		if _, twice := h[k]; twice {
			d.bad = true
		}
		h[k] = vv
	}
	if len(slab) != 0 {
		d.bad = true
	}
	if d.bad {
		return nil
	}
	return h
}
