package stale_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// start is when the tests' backends say that they answer.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func credentials(t testing.TB, list ...string) []credential.Name {
	t.Helper()
	var out []credential.Name
	for _, s := range list {
		c, err := credential.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// fields makes a header of lines such as "Vary: Accept".
func fields(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// get is a request as the front hands it on.
func get(uri string, lines ...string) *http.Request {
	return request(http.MethodGet, uri, lines...)
}

func request(method, uri string, lines ...string) *http.Request {
	r := httptest.NewRequest(method, uri, nil)
	r.Host, r.Header = "shop.example", fields(lines...)
	return r
}

// record lets the backend answer r at now, in pieces of 7 bytes.
func record(s *stale.Store, r *http.Request, status int, h http.Header, body string, now time.Time) stale.Why {
	rec, why := s.Record(r, s.Mark(), status, h, now)
	if rec == nil {
		return why
	}
	for p := body; p != ""; {
		n := min(7, len(p))
		rec.Write([]byte(p[:n]))
		p = p[n:]
	}
	return rec.Done(now, true)
}

func mustKeep(t testing.TB, s *stale.Store, r *http.Request, h http.Header, body string, now time.Time) {
	t.Helper()
	if why := record(s, r, 200, h, body, now); why != "" {
		t.Fatalf("not kept: %s", why)
	}
}

// found is the body that r gets, or "-".
func found(s *stale.Store, r *http.Request, now time.Time) string {
	a, ok := s.Find(r, now)
	if !ok {
		return "-"
	}
	return string(a.Body)
}

func TestAnswer(t *testing.T) {
	s := stale.New(stale.Settings{})
	h := fields("Date: "+start.Format(http.TimeFormat), "Cache-Control: max-age=60", "Content-Type: text/plain",
		"Content-Length: 5", "Set-Cookie: a=b", "Set-Cookie2: c=d", "Age: 10", "X-Request-Id: 1", "Keep-Alive: timeout=5",
		"Connection: close, X-Hop", "X-Hop: 1", "Clear-Site-Data: *", "Link: a", "Link: b", "Trailer: X-Sum")
	h.Set("Cache-Control", "public, max-age=60")
	mustKeep(t, s, get("/a"), h, "hello", start)
	h.Set("Content-Type", "text/changed") // the caller's to change again
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a, ok := s.Find(request(method, "/a"), start.Add(2*time.Minute))
		if !ok {
			t.Fatal("not found")
		}
		want := "Cache-Control: public, max-age=60\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nLink: a\r\nLink: b\r\n"
		var got strings.Builder
		_ = a.Header.Write(&got)
		if got.String() != want {
			t.Errorf("%s: %s", method, got.String())
		}
		if a.Kind != fallback.Stale || a.Status != 200 || string(a.Body) != "hello" {
			t.Errorf("%s: %+v", method, a)
		}
		if age := a.Age(start.Add(2 * time.Minute)); age != 130*time.Second {
			t.Errorf("Age %v", age)
		}
		if !a.Fresh.Equal(start.Add(50 * time.Second)) {
			t.Errorf("fresh until %v", a.Fresh)
		}
	}
	if a, _ := s.Find(get("/a"), start.Add(time.Second)); !a.Fresh.Equal(start.Add(time.Second)) {
		t.Errorf("what is fresh still counts as fresh until it is given, not %v", a.Fresh)
	}
}
