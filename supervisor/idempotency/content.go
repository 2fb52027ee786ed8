package idempotency

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
)

// content is what went to the backend of the body of a first request.
type content struct {
	n   int64  // bytes
	sum digest // of them, when there are any
	all bool   // there were no more
}

// matches reports whether the body of r has the same content. It reads no more of
// it than that, and a byte.
func (c content) matches(r *http.Request) (bool, error) {
	length := r.ContentLength
	if length >= 0 && (length < c.n || c.all && length != c.n) {
		return false, nil
	}
	if r.Body == nil {
		return c.n == 0, nil
	}
	if c.n > 0 {
		h := sha256.New()
		if _, err := io.CopyN(h, r.Body, c.n); err == io.EOF {
			return false, nil
		} else if err != nil {
			return false, err
		}
		if sumOf(h) != c.sum {
			return false, nil
		}
	}
	if !c.all || length >= 0 {
		return true, nil
	}
	var beyond [1]byte
	switch _, err := io.ReadFull(r.Body, beyond[:]); {
	case err == nil:
		return false, nil
	case errors.Is(err, io.EOF):
		return true, nil
	default:
		return false, err
	}
}

func sumOf(h hash.Hash) (d digest) {
	var space [sha256.Size]byte
	copy(d[:], h.Sum(space[:0]))
	return d
}

// body hashes what is read through it, until it is asked for what that was: by
// the request's own goroutine, when another may still read.
type body struct {
	io.ReadCloser
	length int64 // Content-Length, or -1

	mu      sync.Mutex
	hash    hash.Hash // nil: it was asked
	content content
}

func newBody(b io.ReadCloser, length int64) *body {
	return &body{ReadCloser: b, length: length, hash: sha256.New()}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hash != nil {
		b.hash.Write(p[:n])
		b.content.n += int64(n)
		b.content.all = err == io.EOF || b.content.n == b.length
	}
	return n, err
}

// seen is what has been read; what is read later does not count.
func (b *body) seen() content {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hash != nil {
		b.content.sum = sumOf(b.hash)
		b.hash = nil
	}
	return b.content
}
