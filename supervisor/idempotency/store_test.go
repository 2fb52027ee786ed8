package idempotency_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/idempotency"
)

func TestRepeatGetsTheFirstAnswer(t *testing.T) {
	s := newStore(idempotency.Settings{})
	c := first(t, s, post("k", "pay"), start)
	h := http.Header{"Set-Cookie": {"a=1", "b=2"}, "Location": {"/p/1"}, "Content-Length": {"7"}}
	if !c.Wants() {
		t.Error("an answer that has not begun is not wanted")
	}
	c.Record(201, h)
	h["Set-Cookie"][0] = "changed"
	piece := []byte("paym")
	c.Write(piece)
	copy(piece, "xxxx")
	c.Write([]byte("ent"))
	c.Trailer(http.Header{"X-Sum": {"5"}})
	if !c.Wants() {
		t.Error("not wanted")
	}
	expect(t, s, post("k", "pay"), start, "in_progress")
	c.Done("undelivered", start.Add(time.Second))

	for range 2 {
		ruling := s.Begin(post("k", "pay"), start.Add(2*time.Second))
		a := ruling.Answer
		if ruling.Verdict != idempotency.Repeat || ruling.Outcome != "undelivered" || a.Status != 201 || string(a.Body) != "payment" ||
			a.Trailer.Get("X-Sum") != "5" || !a.At.Equal(start.Add(time.Second)) {
			t.Fatalf("%+v %+v", ruling, a)
		}
		if got := a.Header["Set-Cookie"]; len(got) != 2 || got[0] != "a=1" || a.Header.Get("Location") != "/p/1" {
			t.Errorf("%v", a.Header)
		}
	}
	expect(t, s, post("k2", "pay"), start, "first")
}

// A client that takes its answer slowly does not keep a repeat waiting.
func TestDelivered(t *testing.T) {
	s := newStore(idempotency.Settings{})
	for key, c := range map[string]struct{ outcome, want string }{
		"slow": {"undelivered", "known done"}, "cut": {"partial", "known partial"}, "denied": {"undelivered", "first"},
	} {
		claim := first(t, s, post(key, "b"), start)
		if key == "denied" {
			claim.Record(401, nil)
		}
		claim.Done(c.outcome, start)
		if key == "slow" {
			expect(t, s, post(key, "b"), start, "known undelivered")
		}
		claim.Delivered()
		expect(t, s, post(key, "b"), start, c.want)
	}
}

// How a first request ends, and what a repeat gets then.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		outcome    string
		idempotent bool
		record     bool
		want       string
	}{
		{"refused", false, false, "first"},
		{"never_sent", false, false, "first"},
		{"sent_unknown", false, false, "known sent_unknown"},
		{"sent_unknown", true, false, "first"},
		{"partial", false, true, "known partial"},
		{"partial", true, true, "first"},
		{"undelivered", false, true, "repeat one"},
		{"undelivered", true, true, "repeat one"},
		{"undelivered", false, false, "known undelivered"},
		{"undelivered", true, false, "known undelivered"},
		{"done", false, true, "repeat one"},
		{"done", false, false, "known done"},
		{"done", true, false, "known done"},
		{"no word of ours", false, true, "known sent_unknown"},
		{"", false, true, "known sent_unknown"},
	} {
		s := newStore(idempotency.Settings{BackendIdempotent: c.idempotent})
		claim := first(t, s, post("k", "b"), start)
		if c.record {
			claim.Record(200, nil)
			claim.Write([]byte("one"))
		}
		claim.Done(c.outcome, start)
		for range 2 {
			expect(t, s, post("k", "b"), start, c.want)
		}
		if st := s.Stats(); st.InProgress != 0 || st.Recording != 0 {
			t.Errorf("%q: %+v", c.outcome, st)
		}
	}
}

// Statuses by which nothing was done give the key back.
func TestUndone(t *testing.T) {
	for _, c := range []struct {
		undone []int
		status int
		want   string
	}{
		{nil, 401, "first"}, {nil, 421, "first"}, {nil, 425, "first"},
		{nil, 400, "repeat x"}, {nil, 429, "repeat x"}, {nil, 500, "repeat x"}, {nil, 503, "repeat x"},
		{[]int{429}, 429, "first"}, {[]int{429}, 401, "repeat x"},
		{[]int{}, 401, "repeat x"},
	} {
		s := newStore(idempotency.Settings{Undone: c.undone})
		claim := first(t, s, post("k", "b"), start)
		claim.Record(c.status, nil)
		claim.Write([]byte("x"))
		claim.Done("done", start)
		expect(t, s, post("k", "b"), start, c.want)
	}
}

// To an idempotent backend what is unknown may go again; the repeat's end counts
// only if it reached the backend.
func TestAgain(t *testing.T) {
	s := newStore(idempotency.Settings{BackendIdempotent: true})
	first(t, s, post("k", "b"), start).Done("sent_unknown", start)
	c := first(t, s, post("k", "b"), start)
	expect(t, s, post("k", "b"), start, "in_progress")
	c.Done("never_sent", start)
	if err := s.Apply(idempotency.Settings{}, start); err != nil {
		t.Fatal(err)
	}
	expect(t, s, post("k", "b"), start, "known sent_unknown")
	expect(t, s, post("k", "other"), start, "mismatch")
	s.Apply(idempotency.Settings{BackendIdempotent: true}, start)
	c = first(t, s, post("k", "b"), start)
	c.Record(401, nil)
	c.Done("done", start)
	answered(t, s, post("k", "b"), "one", start)
	expect(t, s, post("k", "b"), start, "repeat one")
	if st := s.Stats(); st.Keys != 1 || st.Answers != 1 || st.InProgress != 0 {
		t.Errorf("%+v", st)
	}
}

func TestMismatch(t *testing.T) {
	changes := map[string]func(r *http.Request){
		"method":       func(r *http.Request) { r.Method = http.MethodPut },
		"host":         func(r *http.Request) { r.Host = "other.example" },
		"path":         func(r *http.Request) { r.RequestURI = "/api/payments/2?a=1" },
		"query":        func(r *http.Request) { r.RequestURI = "/api/payments/?a=2" },
		"type":         func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no type":      func(r *http.Request) { r.Header.Del("Content-Type") },
		"encoding":     func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
		"body":         func(r *http.Request) { setBody(r, "sum=2") },
		"longer body":  func(r *http.Request) { setBody(r, "sum=10") },
		"shorter body": func(r *http.Request) { setBody(r, "sum=") },
		"no body":      func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
	}
	ends := map[string]func(c *idempotency.Claim){
		"answered": func(c *idempotency.Claim) { c.Record(200, nil); c.Done("done", start) },
		"known":    func(c *idempotency.Claim) { c.Done("sent_unknown", start) },
	}
	for how, end := range ends {
		for name, change := range changes {
			for _, stream := range []bool{false, true} {
				s := newStore(idempotency.Settings{})
				end(first(t, s, post("k", "sum=1"), start))
				r := post("k", "sum=1")
				change(r)
				if stream && r.ContentLength > 0 {
					r.ContentLength = -1
				}
				if got := begin(s, r, start); got != "mismatch" {
					t.Errorf("%s, another %s: %s", how, name, got)
				}
				if got := begin(s, post("k", "sum=1"), start); got == "mismatch" || got == "first" {
					t.Errorf("%s, the same after another %s: %s", how, name, got)
				}
			}
		}
	}
	s := newStore(idempotency.Settings{})
	first(t, s, post("k", "sum=1"), start)
	r := post("k", "sum=1")
	r.RequestURI = "/other"
	expect(t, s, r, start, "mismatch") // also while the first is in progress
	r = post("k", "sum=1")
	r.Host = "SHOP.example"
	expect(t, s, r, start, "in_progress")
}

func setBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// What the backend has not read of the first body cannot be compared; a repeat's
// is read no further than it must be.
func TestBodyReadInPart(t *testing.T) {
	s := newStore(idempotency.Settings{})
	r := post("k", "0123456789")
	c := s.Begin(r, start).Claim
	b := c.Body(r.Body)
	if _, err := io.ReadFull(b, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	c.Record(413, nil)
	c.Done("done", start)
	io.Copy(io.Discard, b) // the upload may be slower than the answer

	expect(t, s, post("k", "0123456789"), start, "repeat ")
	expect(t, s, post("k", "0123xxx"), start, "repeat ")
	expect(t, s, post("k", "0124456789"), start, "mismatch")
	expect(t, s, post("k", "012"), start, "mismatch")
	r = post("k", "")
	r.ContentLength, r.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader("0123"), iotest.ErrReader(errors.New("too far"))))
	expect(t, s, r, start, "repeat ")

	answered(t, s, post("k2", "0123"), "x", start)
	endless := &counting{}
	r = post("k2", "")
	r.ContentLength, r.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader("0123"), endless))
	expect(t, s, r, start, "mismatch")
	if endless.n != 1 {
		t.Errorf("%d bytes were read beyond the first body", endless.n)
	}
}

type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

func TestBodyOfARepeatFails(t *testing.T) {
	s := newStore(idempotency.Settings{})
	answered(t, s, post("k", "0123"), "x", start)
	gone := errors.New("client gone")
	for _, sent := range []string{"", "01", "0123"} {
		r := post("k", "")
		r.ContentLength, r.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader(sent), iotest.ErrReader(gone)))
		if ruling := s.Begin(r, start); ruling.Verdict != idempotency.Unread || ruling.Err != gone || ruling.Answer != nil {
			t.Errorf("%q: %+v", sent, ruling)
		}
	}
}

// What the claim was not shown of the body is not compared.
func TestBodyUnseen(t *testing.T) {
	s := newStore(idempotency.Settings{})
	c := s.Begin(post("k", "0123"), start).Claim
	c.Record(200, nil)
	c.Done("done", start)
	expect(t, s, post("k", "other"), start, "repeat ")
}

func TestScope(t *testing.T) {
	parse := func(names ...string) (list []credential.Name) {
		for _, name := range names {
			c, err := credential.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, c)
		}
		return list
	}
	const a, b = "Authorization: Bearer a", "Authorization: Bearer b"
	for _, c := range []struct {
		name       string
		scope      []string
		one, other []string
		same       bool
	}{
		{"nobody twice", nil, nil, nil, true},
		{"one client", nil, []string{a}, []string{a}, true},
		{"two clients", nil, []string{a}, []string{b}, false},
		{"one and nobody", nil, []string{a}, nil, false},
		{"two lines and one", nil, []string{a, b}, []string{"Authorization: Bearer aBearer b"}, false},
		{"cookies", nil, []string{"Cookie: s=1"}, []string{"Cookie: s=2"}, false},
		{"keys of an API", nil, []string{"X-Api-Key: 1"}, []string{"X-Api-Key: 2"}, false},
		{"the same value in another field", nil, []string{"X-Api-Key: 1"}, []string{"X-Auth-Token: 1"}, false},
		{"a field that is none", nil, []string{a, "Accept: 1"}, []string{a, "Accept: 2"}, true},
		{"not listed", []string{"X-Tenant"}, []string{a, "X-Tenant: 1"}, []string{b, "X-Tenant: 1"}, true},
		{"listed", []string{"x-tenant"}, []string{"X-Tenant: 1"}, []string{"X-Tenant: 2"}, false},
		{"another cookie", []string{"Cookie:s"}, []string{"Cookie: s=1; t=1"}, []string{"Cookie: t=2;s=1"}, true},
		{"that cookie", []string{"Cookie:s"}, []string{"Cookie: s=1; t=1"}, []string{"Cookie: s=2; t=1"}, false},
		{"that cookie twice", []string{"Cookie:s"}, []string{"Cookie: s=1; s=2"}, []string{"Cookie: s=1"}, false},
		{"no such cookie", []string{"Cookie:s"}, []string{"Cookie: ss=1"}, []string{"Cookie: S=2"}, true},
	} {
		s := newStore(idempotency.Settings{Scope: parse(c.scope...)})
		answered(t, s, post("k", "b", c.one...), "mine", start)
		expect(t, s, post("k", "b", c.other...), start, map[bool]string{true: "repeat mine", false: "first"}[c.same])
	}
}

func TestMisuse(t *testing.T) {
	s := newStore(idempotency.Settings{})
	c := first(t, s, post("k", "b"), start)
	c.Done("done", start)
	for name, misuse := range map[string]func(){
		"done twice":   func() { c.Done("done", start) },
		"short secret": func() { idempotency.New(idempotency.Settings{}, secret[:31]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}

// Sent again by an operator, an unknown one passes where its client's repeats do not;
// what was done does not.
func TestResend(t *testing.T) {
	for outcome, want := range map[string]idempotency.Verdict{
		"sent_unknown": idempotency.First, "partial": idempotency.First, "undelivered": idempotency.Known, "done": idempotency.Known,
	} {
		s := newStore(idempotency.Settings{})
		first(t, s, post("k", "b"), start).Done(outcome, start)
		expect(t, s, post("k", "b"), start, "known "+outcome)
		got := s.Resend(post("k", "b"), start)
		if got.Verdict != want {
			t.Errorf("%s: %v", outcome, got.Verdict)
		}
		if got.Claim != nil {
			expect(t, s, post("k", "b"), start, "in_progress")
			got.Claim.Done("done", start)
			expect(t, s, post("k", "b"), start, "known done")
		}
	}
}
