package supervisor

import (
	"bufio"
	"crypto/rand"
	"net/http"
	"sync"

	"github.com/google/uuid"
)

// MaxRequestIDBytes bounds an X-Request-Id that a client chose.
const MaxRequestIDBytes = 128

// RequestIDs gives every request its X-Request-Id. It is safe for concurrent
// use. It reads random bytes for a hundred requests at a time: a read of the
// system's source for each would cost more than all else here.
type RequestIDs struct {
	mu     sync.Mutex
	random *bufio.Reader
}

// NewRequestIDs returns a RequestIDs.
func NewRequestIDs() *RequestIDs {
	return &RequestIDs{random: bufio.NewReaderSize(rand.Reader, 100*16)}
}

// Of is the X-Request-Id of a request with header h: the one that the client
// sent if it is one value of 1 to 128 bytes out of [A-Za-z0-9._~:/+=@-], which
// neither a log nor a header can misread; otherwise a new UUID version 7, whose
// order is that of time. It is in h when Of returns.
func (ids *RequestIDs) Of(h http.Header) string {
	if sent := h["X-Request-Id"]; len(sent) == 1 && saneRequestID(sent[0]) {
		return sent[0]
	}
	id := ids.next()
	h["X-Request-Id"] = []string{id}
	return id
}

func (ids *RequestIDs) next() string {
	ids.mu.Lock()
	id, err := uuid.NewV7FromReader(ids.random)
	ids.mu.Unlock()
	if err != nil {
		panic(err) // crypto/rand.Reader does not fail
	}
	return id.String()
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > MaxRequestIDBytes {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case unreserved(c), c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}
