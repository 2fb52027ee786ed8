package supervisor

import (
	"bytes"
	"errors"
	"io"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// keeping is what a call knows of being kept, so that it can be sent again.
type keeping struct {
	wanted bool   // its body is at hand, whole
	body   []byte // until it is sealed
	word   string // journal.BodyKept and its like; "": nobody wanted it
	sealed string // under which name; "": it is not, or no longer
}

// gather reads the body of a request that is to be kept, in the time that a client
// has for it. The worker gets it from memory then. One that is too large goes on as
// it comes, like all others; the memory is bounded by the limiter, which is passed.
func (c *call) gather() error {
	k, most := &c.journaled.keeping, c.set.Journal.BodyBytes
	switch {
	case c.journaled.replay != nil:
		k.wanted, k.body = true, c.journaled.replay.request.Body
		return nil
	case !c.set.Journal.keeps(c.r.Method):
		return nil
	case c.body == nil:
		k.wanted = true
		return nil
	case c.r.ContentLength > most:
		k.word = journal.BodyTooLarge
		return nil
	}
	body, whole, err := c.readBody(most)
	if err != nil {
		return err
	}
	var rest io.Reader = bytes.NewReader(body)
	if whole {
		k.wanted, k.body = true, body
	} else {
		k.word = journal.BodyTooLarge
		rest = io.MultiReader(rest, c.body.ReadCloser)
	}
	c.body.ReadCloser = struct {
		io.Reader
		io.Closer
	}{rest, c.body.ReadCloser}
	return nil
}

// readBody reads the body to its end, or one byte beyond most. While it does, the
// watch takes the client for the one who is waited for.
func (c *call) readBody(most int64) (body []byte, whole bool, err error) {
	c.gathering.Store(true)
	defer c.gathering.Store(false)
	size := int64(bytes.MinRead)
	if c.r.ContentLength > 0 {
		size = c.r.ContentLength + 1 // so that its end is seen
	}
	body = make([]byte, 0, min(size, most+1))
	for {
		if cause := c.whyOver(); cause != nil {
			return nil, false, cause
		}
		n, err := c.body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		c.gathered.Store(int64(len(body)))
		switch {
		case int64(len(body)) > most:
			return body, false, nil // an error comes again, behind it
		case err == io.EOF:
			return body, true, nil
		case err != nil:
			if cause := c.whyOver(); cause != nil {
				return nil, false, cause
			}
			return nil, false, &exchange.Error{Fault: exchange.ClientGone, Err: err}
		case len(body) == cap(body):
			larger := make([]byte, len(body), min(2*int64(cap(body)), most+1))
			copy(larger, body)
			body = larger
		}
	}
}

// seal keeps the request as it leaves. That it cannot be kept is noted and stops
// nobody, but a replay: nothing else would know what it was.
func (c *call) seal() error {
	k := &c.journaled.keeping
	if k.wanted {
		k.sealed = c.bulkhead.journal.bodies.keep(requestID(c.r), c.asKept(k.body), c.set.Journal.Sync == journal.Always)
		k.wanted, k.body = false, nil
		if k.word = journal.BodyKept; k.sealed == "" {
			k.word = journal.BodyLost
		}
	}
	if k.word == "" {
		return nil
	}
	c.bulkhead.stats.metrics.all.bodies.WithLabelValues(c.set.Name, k.word).Inc()
	if c.journaled.replay != nil && k.sealed == "" {
		return errNotKept
	}
	return nil
}

// Why a replay does not leave; both are a journal.ErrUnavailable.
var (
	errNotKept     = errors.Join(journal.ErrUnavailable, errors.New("the replay cannot be kept"))
	errNotRecorded = errors.Join(journal.ErrUnavailable, errors.New("the replay would not be recorded"))
)

// unseal forgets the request: it will not be sent again.
func (c *call) unseal() {
	if k := &c.journaled.keeping; k.sealed != "" {
		c.bulkhead.journal.bodies.drop(k.sealed)
		k.sealed, k.word = "", ""
	}
}

// tellKept adds to a record where the request is kept now, and what it is sent again
// for.
func (c *call) tellKept(r *journal.Record) {
	r.Body, r.Sealed = c.journaled.keeping.word, c.journaled.keeping.sealed
	if again := c.journaled.replay; again != nil {
		r.ReplayOf, r.ReplayOfEntry = again.of.RequestID, again.of.Entry
	}
}

// ofThisSend are fields that belong to one sending of a request.
var ofThisSend = []string{"X-Request-Id", "Traceparent", "Tracestate", "Expect", "Content-Length"}

func (c *call) asKept(body []byte) *kept.Request {
	header := c.r.Header.Clone()
	for _, name := range ofThisSend {
		delete(header, name)
	}
	target := c.r.RequestURI
	if target == "" {
		target = c.r.URL.RequestURI()
	}
	return &kept.Request{
		Method: c.r.Method, Host: c.r.Host, Target: target, RemoteAddr: c.r.RemoteAddr,
		Header: header, Trailer: c.r.Trailer, Body: body,
	}
}

// sendableAgain reports whether a request that ended so may have to be sent again:
// all others are forgotten at once.
func sendableAgain(o Outcome) bool { return o == OutcomeNeverSent || o == OutcomeSentUnknown }
