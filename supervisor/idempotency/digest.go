package idempotency

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"sync"

	"commerce.example/coordinator/ipc/credential"
)

// A digest is an HMAC-SHA-256 cut to half, which RFC 2104 section 5 still allows.
// With the secret unknown nobody can look for two texts of one digest.
type digest [16]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

func parseDigest(s string) (d digest, ok bool) {
	if len(s) != 2*len(d) {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil
}

// digests makes digests with one secret.
type digests struct {
	pens sync.Pool // of *pen
}

// A pen writes a text and signs it. Each value in a text has its length before it,
// and each list an end: no two different lists of values write the same.
type pen struct {
	mac hash.Hash
	buf []byte // cleared after each use
	sum []byte
}

func newDigests(secret []byte) *digests {
	secret = append([]byte(nil), secret...)
	return &digests{pens: sync.Pool{New: func() any { return &pen{mac: hmac.New(sha256.New, secret)} }}}
}

// ofKey is of a key that came with h, within scope.
func (d *digests) ofKey(key string, scope []credential.Name, h http.Header) digest {
	p := d.pens.Get().(*pen)
	defer d.pens.Put(p)
	p.value("key")
	p.value(key)
	for _, c := range scope {
		p.value(c.Field)
		p.value(c.Cookie)
		if c.Cookie == "" {
			p.list(h[c.Field])
		} else {
			p.cookies(h[c.Field], c.Cookie)
		}
	}
	return p.sign()
}

// ofHead is of all that makes r the request it is, but its body.
func (d *digests) ofHead(r *http.Request) digest {
	p := d.pens.Get().(*pen)
	defer d.pens.Put(p)
	p.value("head")
	p.value(r.Method)
	p.value(strings.ToLower(r.Host))
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI()
	}
	p.value(target)
	p.list(r.Header["Content-Type"])
	p.list(r.Header["Content-Encoding"])
	return p.sign()
}

func (p *pen) value(v string) {
	p.buf = append(binary.AppendUvarint(p.buf, uint64(len(v))+1), v...)
}

func (p *pen) list(values []string) {
	for _, v := range values {
		p.value(v)
	}
	p.end()
}

// end is no length of a value.
func (p *pen) end() { p.buf = append(p.buf, 0) }

// cookies writes the list of the values that the cookie called name has.
func (p *pen) cookies(lines []string, name string) {
	for _, line := range lines {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			if key, v, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && key == name {
				p.value(v)
			}
		}
	}
	p.end()
}

func (p *pen) sign() (d digest) {
	p.mac.Reset()
	p.mac.Write(p.buf)
	p.sum = p.mac.Sum(p.sum[:0])
	copy(d[:], p.sum)
	clear(p.buf) // no credential stays behind in the pool
	p.buf = p.buf[:0]
	if cap(p.buf) > 64<<10 {
		p.buf = nil
	}
	return d
}
