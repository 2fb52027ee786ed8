package supervisor

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/shape"
)

// Why a request had no fallback, besides the reasons of stale.Whys for which its
// live answer is not kept.
const (
	MissingNotSeen     = "not_seen"     // nothing is remembered: asked for the first time, too long ago, or in another coding; and nothing is prepared
	MissingNotPrepared = "not_prepared" // there is backup data alone, and none for it
)

// Uncompared is why a fallback was not compared with its live answer.
type Uncompared string

const (
	UncomparedPart     Uncompared = "part"      // 206 or 304: what it lacks is not known
	UncomparedTooLarge Uncompared = "too_large" // one of both has over 256 KiB, or over 1 MiB when decoded
	UncomparedCoding   Uncompared = "coding"    // one that is not gzip
	UncomparedVaried   Uncompared = "varied"    // see shape.ErrTooVaried
	UncomparedBusy     Uncompared = "busy"      // too many at the same time
	UncomparedCut      Uncompared = "cut"       // the live answer did not reach its end
)

// A trial is one request of a rehearsal. It belongs to the request's goroutine
// until done, and then to the rehearsal's.
type trial struct {
	of     *rehearsal
	answer *fallback.Answer // nil: there was none
	why    string           // there was none
	age    time.Duration    // of answer

	status            int
	mediaType, coding string
	whole             bool // the live answer has come to its end
	size              int64
	body              []byte // as far as it came; nothing without a place
	placed            bool
	skip              Uncompared // "": to be compared
}

// trial begins one, whose answer is the fallback there is.
func (r *rehearsal) trial(answer *fallback.Answer, resp *http.Response, now time.Time) *trial {
	s := &trial{of: r, answer: answer, status: resp.StatusCode, mediaType: mediaType(resp.Header), coding: coding(resp.Header)}
	if answer == nil {
		return s
	}
	s.age = answer.Age(now)
	switch {
	case s.status == http.StatusPartialContent || s.status == http.StatusNotModified:
		s.skip = UncomparedPart
	case resp.ContentLength > compareBytes || len(answer.Body) > compareBytes:
		s.skip = UncomparedTooLarge
	default:
		select {
		case r.places <- struct{}{}:
			s.placed = true
		default:
			s.skip = UncomparedBusy
		}
	}
	return s
}

// take takes the next piece of the live answer.
func (s *trial) take(p []byte) {
	s.size += int64(len(p))
	switch {
	case !s.placed:
	case len(s.body)+len(p) > compareBytes:
		s.abandon(UncomparedTooLarge)
	default:
		s.body = append(s.body, p...)
	}
}

func (s *trial) abandon(why Uncompared) {
	s.skip, s.body = why, nil
	if s.placed {
		s.placed = false
		<-s.of.places
	}
}

// done ends the trial.
func (s *trial) done() {
	if s.placed && !s.whole {
		s.abandon(UncomparedCut)
	}
	s.of.note(s)
	if s.placed {
		s.of.trials <- s // never waits: it has a place
	}
}

// note counts a request.
func (r *rehearsal) note(s *trial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if s.answer == nil {
		r.missing[s.why]++
		return
	}
	kind := s.answer.Kind
	r.covered[kind]++
	if r.ages[kind] == nil {
		r.ages[kind] = new(ages)
	}
	r.ages[kind].add(s.age)
	if s.skip != "" {
		r.skipped[s.skip]++
	}
}

// conclude compares, and gives the place back.
func (r *rehearsal) conclude(s *trial) {
	drifts, why := s.compare()
	<-r.places
	r.mu.Lock()
	defer r.mu.Unlock()
	if why != "" {
		r.skipped[why]++
		return
	}
	r.compared++
	r.bytes.live += s.size
	r.bytes.fallback += int64(len(s.answer.Body))
	if len(drifts) > 0 {
		r.drifted++
	}
	for _, drift := range drifts {
		if r.drifts[drift] > 0 || len(r.drifts) < driftsKept {
			r.drifts[drift]++
		}
	}
}

// compare is how the live answer differs in what its readers rely on, a line for
// each difference, or why that cannot be told. Lines have statuses, media types
// and the names and types of members, and no values.
func (s *trial) compare() (drifts []string, why Uncompared) {
	if s.status != s.answer.Status {
		return []string{fmt.Sprintf("status was %d and is %d", s.answer.Status, s.status)}, ""
	}
	was := mediaType(s.answer.Header)
	switch {
	case s.size == 0 && len(s.answer.Body) == 0:
		return nil, ""
	case was != s.mediaType:
		return []string{fmt.Sprintf("Content-Type was %q and is %q", was, s.mediaType)}, ""
	case !backup.IsJSON(was):
		return nil, ""
	}
	before, why, err := shapeOf(s.answer.Body, coding(s.answer.Header))
	if why != "" {
		return nil, why
	}
	after, why, errAfter := shapeOf(s.body, s.coding)
	switch {
	case why != "":
		return nil, why
	case err != nil && errAfter != nil: // whatever it is, it is that still
		return nil, ""
	case err != nil:
		return []string{"was no JSON and is"}, ""
	case errAfter != nil:
		return []string{"was JSON and is none"}, ""
	}
	return shape.Drift(before, after), ""
}

// shapeOf is the shape of a body in that content coding.
func shapeOf(body []byte, coding string) (shape.Shape, Uncompared, error) {
	switch {
	case coding == "":
	case sameCoding(coding, "gzip"):
		var err error
		if body, err = gunzip(body); err != nil {
			return nil, "", err
		}
		if len(body) > decodedBytes {
			return nil, UncomparedTooLarge, nil
		}
	default:
		return nil, UncomparedCoding, nil
	}
	s, err := shape.Of(body)
	if errors.Is(err, shape.ErrTooVaried) {
		return nil, UncomparedVaried, nil
	}
	return s, "", err
}

const decodedBytes = 1 << 20

// gunzip is all that body says, or the first of over decodedBytes.
func gunzip(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, decodedBytes+1))
}

// mediaType is the one in Content-Type, without parameters.
func mediaType(h http.Header) string {
	value := h.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(value); err == nil {
		return media
	}
	return value
}

// coding is the content coding; "" for none.
func coding(h http.Header) string {
	if value := trimSpace(h.Get("Content-Encoding")); !asciiEqualFold(value, "identity") {
		return value
	}
	return ""
}
