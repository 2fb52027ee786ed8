package idempotency_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/idempotency"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	secret = []byte("0123456789abcdef0123456789abcdef")
)

func newStore(s idempotency.Settings) *idempotency.Store { return idempotency.New(s, secret) }

// post is a request with a key; fields are "Name: value".
func post(key, body string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://shop.example/api/payments/?a=1", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// first begins r, which must be the first with its key, and sends all of its body.
func first(t testing.TB, s *idempotency.Store, r *http.Request, now time.Time) *idempotency.Claim {
	t.Helper()
	ruling := s.Begin(r, now)
	if ruling.Verdict != idempotency.First || ruling.Claim == nil || len(ruling.Digest) != 32 {
		t.Fatalf("%+v, want first", ruling)
	}
	if _, err := io.Copy(io.Discard, ruling.Claim.Body(r.Body)); err != nil {
		t.Fatal(err)
	}
	return ruling.Claim
}

// answered has r done with an answer.
func answered(t testing.TB, s *idempotency.Store, r *http.Request, body string, now time.Time) {
	t.Helper()
	c := first(t, s, r, now)
	c.Record(201, http.Header{"Content-Type": {"text/plain"}})
	c.Write([]byte(body))
	c.Done("done", now)
}

// begin is the verdict on r, with the outcome or the answer that belongs to it. A
// claim is given up.
func begin(s *idempotency.Store, r *http.Request, now time.Time) string {
	ruling := s.Begin(r, now)
	switch ruling.Verdict {
	case idempotency.First:
		ruling.Claim.Done("refused", now)
	case idempotency.Known:
		return "known " + ruling.Outcome
	case idempotency.Repeat:
		return "repeat " + string(ruling.Answer.Body)
	}
	return string(ruling.Verdict)
}

func expect(t testing.TB, s *idempotency.Store, r *http.Request, now time.Time, want string) {
	t.Helper()
	if got := begin(s, r, now); got != want {
		t.Errorf("%s %s %q: %s, want %s", r.Method, r.RequestURI, r.Header["Idempotency-Key"], got, want)
	}
}
