package demo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

const maxBody = 1 << 20 // bytes of a request

// service is what a legacy service does, apart from how it misbehaves. It gets
// the whole body and does its work when it is called.
type service interface {
	answer(r *http.Request, body []byte) reply
}

// reply is an answer before it is sent, whole or broken.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// Stats is what a service has seen since it started.
type Stats struct {
	Requests   int64 `json:"requests"`   // read in full
	Authorized int64 `json:"authorized"` // of these, with an Authorization field
	Answered   int64 `json:"answered"`   // of these, answered, if only in part or with garbage
	Gone       int64 `json:"gone"`       // of these, whose client left first
	InFlight   int64 `json:"in_flight"`  // now
	Most       int64 `json:"most"`       // at once, ever
}

// site is a service behind its fault switch.
type site struct {
	service service
	front   *gate
	latency *latency
	faults  *faults

	switching sync.Mutex // one change of the switch at a time, gate included

	mu    sync.Mutex
	rand  *rand.Rand
	stats Stats

	errorPages atomic.Uint64
}

func newSite(s service, front *gate, l *latency, seed uint64) *site {
	return &site{service: s, front: front, latency: l, faults: newFaults(), rand: rand.New(rand.NewPCG(seed, 2))}
}

// turn sets the switch. When it returns, the setting holds.
func (s *site) turn(ctx context.Context, f Fault) error {
	s.switching.Lock()
	defer s.switching.Unlock()
	if f.Mode == Down {
		// Connections first, or hung requests would end them in good order.
		s.front.goDown()
		s.faults.set(f)
		return nil
	}
	// Up first: a service that cannot get its port back stays down, and says so.
	if err := s.front.goUp(ctx); err != nil {
		return err
	}
	s.faults.set(f)
	return nil
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuseBody(err).send(w, r)
		return
	}
	draw := s.arrived(r)
	ctx := r.Context()
	if !safe(r.Method) {
		// What the service has read it will do, whoever still waits for it.
		ctx = context.WithoutCancel(ctx)
	}
	half := s.latency.next() / 2
	fault, err := s.faults.begin(ctx, draw, half)
	if err != nil {
		s.left(false)
		panic(http.ErrAbortHandler)
	}
	var a reply
	if fault.Mode == Errors {
		a = s.errorPage()
	} else {
		a = s.service.answer(r, body)
	}
	err = s.faults.finish(ctx, draw, half)
	s.left(err == nil && r.Context().Err() == nil)
	switch {
	case err != nil:
		panic(http.ErrAbortHandler)
	case fault.Mode == Garbage:
		sendGarbage(w)
	case fault.Mode == ResetMidBody:
		a.sendHalf(w)
	default:
		a.send(w, r)
	}
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// arrived counts a request and draws its luck.
func (s *site) arrived(r *http.Request) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	if r.Header.Get("Authorization") != "" {
		s.stats.Authorized++
	}
	s.stats.InFlight++
	s.stats.Most = max(s.stats.Most, s.stats.InFlight)
	return s.rand.Float64()
}

func (s *site) left(answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.InFlight--
	if answered {
		s.stats.Answered++
	} else {
		s.stats.Gone++
	}
}

func (s *site) statsNow() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func refuseBody(err error) reply {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refusal(http.StatusRequestEntityTooLarge, "Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE.")
	}
	return refusal(http.StatusBadRequest, "The request body could not be read.")
}

// errorPage is what legacy services answer when they fail: the web server's HTML
// page and the framework's JSON in turn.
func (s *site) errorPage() reply {
	if s.errorPages.Add(1)%2 == 1 {
		return reply{
			status: http.StatusInternalServerError,
			header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
			body:   []byte("<!doctype html>\n<html lang=\"en\">\n<head><title>Server Error (500)</title></head>\n<body>\n  <h1>Server Error (500)</h1><p></p>\n</body>\n</html>\n"),
		}
	}
	a := refusal(http.StatusServiceUnavailable, "Service temporarily unavailable, try again later.")
	a.header.Set("Retry-After", "1")
	return a
}

// send writes a as it should be.
func (a reply) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if a.status != http.StatusNotModified && a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write(a.body) // the client may have left, which is its right
	}
}

// sendHalf writes the head, promising the whole body, and half of it, then resets.
func (a reply) sendHalf(w http.ResponseWriter) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer reset(c)
	h := a.header.Clone()
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	buf.WriteString("HTTP/1.1 " + strconv.Itoa(a.status) + " " + http.StatusText(a.status) + "\r\n")
	h.Write(buf)
	buf.WriteString("\r\n")
	buf.Write(a.body[:len(a.body)/2])
	buf.Flush()
}

// sendGarbage answers what a port of another protocol would.
func sendGarbage(w http.ResponseWriter) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer c.Close()
	buf.WriteString("\x00\x15\x03\x01\x00\x02\x02\x50 <<legacy wire dump>>\xff\xfe\r\n\r\n")
	buf.Flush()
}
