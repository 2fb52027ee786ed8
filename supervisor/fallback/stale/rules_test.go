package stale_test

import (
	"net/http"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

const (
	second = time.Second
)

// Each rule of RFC 9111, RFC 5861 and our own, by what becomes of one answer.
func TestRules(t *testing.T) {
	date := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	list := func(l ...string) []string { return l }
	user := list("Authorization: Bearer 1")
	for _, c := range []struct {
		rule     string
		request  []string
		status   int // 0: 200
		answer   []string
		per      []string // PerCredential
		why      stale.Why
		until    time.Duration // it is still given then, and not a second later; 0: MaxAge, which is 600 s
		explicit bool          // StaleIfError finds it, too
	}{
		{rule: "nothing said: no freshness, and configuration permits to give it stale (9111 4.2.4)"},
		{rule: "9111 5.2.2.5", answer: list("Cache-Control: max-age=60, No-Store"), why: stale.WhyNoStore},
		{rule: "9111 5.2.2.5, second line", answer: list("Cache-Control: max-age=60", "Cache-Control: no-store"), why: stale.WhyNoStore},
		{rule: "9111 5.2.2.3: the status is understood", answer: list("Cache-Control: must-understand, no-store")},
		{rule: "9111 5.2.1.5", request: list("Cache-Control: no-store"), why: stale.WhyNoStore},
		{rule: "9111 5.2.1.4: it was asked", request: list("Cache-Control: no-cache, max-age=0", "Pragma: no-cache")},
		{rule: "9111 5.2.2.7", answer: list("Cache-Control: private"), why: stale.WhyPrivate},
		{rule: "9111 5.2.2.7, for a user who is told apart", request: user, per: list("Authorization"), answer: list("Cache-Control: private")},
		{rule: "9111 5.2.2.7, for nobody who could be", per: list("Authorization"), answer: list("Cache-Control: private"), why: stale.WhyPrivate},
		{rule: "9111 5.2.2.7, qualified", answer: list(`Cache-Control: private="X-User, link"`, "Link: a", "X-User: b")},
		{rule: "9111 5.2.2.7, qualified and not", answer: list(`Cache-Control: private="Link", private`), why: stale.WhyPrivate},
		{rule: "9111 5.2.2.7, nothing named", answer: list(`Cache-Control: private=""`), why: stale.WhyPrivate},
		{rule: "9111 5.2.2.7, the token form is not it", answer: list(`Cache-Control: private=Link`), why: stale.WhyPrivate},
		{rule: "never closed", answer: list(`Cache-Control: private="Link, max-age=1`), why: stale.WhyPrivate},
		{rule: "never closed, and more follows", answer: list(`Cache-Control: x="Link, no-store`), why: stale.WhyNoStore},
		{rule: "quoted text is no directive", answer: list(`Cache-Control: x="no-store, \" private", max-age=9`)},
		{rule: "9111 5.2.2.4", answer: list("Cache-Control: no-cache"), why: stale.WhyNoCache},
		{rule: "9111 5.2.2.4, qualified", answer: list(`Cache-Control: no-cache="X-Nonce"`, "X-Nonce: 1")},
		{rule: "9111 5.4: unspecified in answers", answer: list("Pragma: no-cache")},
		{rule: "9111 5.2.2.2", answer: list("Cache-Control: max-age=60, must-revalidate"), until: 59 * second},
		{rule: "9111 5.2.2.2, stale at once", answer: list("Cache-Control: max-age=0, must-revalidate"), why: stale.WhyRevalidate},
		{rule: "9111 5.2.2.8", answer: list("Cache-Control: max-age=60, proxy-revalidate"), until: 59 * second},
		{rule: "9111 5.2.2.10 is proxy-revalidate, and before max-age", answer: list("Cache-Control: s-maxage=60, max-age=300"), until: 59 * second},
		{rule: "9111 5.2.2.10 outranks 5861 4", answer: list("Cache-Control: s-maxage=60, stale-if-error=300"), until: 59 * second},
		{rule: "9111 4.2.1, fresh for longer than MaxAge", answer: list("Cache-Control: max-age=9000, must-revalidate")},
		{rule: "9111 4.2.1, several: the smallest", answer: list("Cache-Control: max-age=60, max-age=30, must-revalidate"), until: 29 * second},
		{rule: "9111 4.2.1, invalid: stale", answer: list("Cache-Control: max-age=-1, must-revalidate"), why: stale.WhyRevalidate},
		{rule: "9111 1.2.2, overflow", answer: list("Cache-Control: max-age=99999999999999999999, must-revalidate")},
		{rule: "9111 5.2, quoted", answer: list(`Cache-Control: max-age="60", must-revalidate`), until: 59 * second},
		{rule: "9111 5.3", answer: list("Expires: "+date(60*second), "Cache-Control: must-revalidate"), until: 59 * second},
		{rule: "9111 5.3, by the clock that made it", answer: list("Date: "+date(30*second), "Expires: "+date(60*second), "Cache-Control: must-revalidate"), until: 29 * second},
		{rule: "9111 5.3, invalid: stale", answer: list("Expires: 0", "Cache-Control: must-revalidate"), why: stale.WhyRevalidate},
		{rule: "9111 5.3, max-age outranks it", answer: list("Expires: 0", "Cache-Control: max-age=60, must-revalidate"), until: 59 * second},
		{rule: "9111 4.2.2, a tenth", answer: list("Last-Modified: "+date(-600*second), "Cache-Control: must-revalidate"), until: 59 * second},
		{rule: "9111 4.2.2, not with Expires", answer: list("Last-Modified: "+date(-600*second), "Expires: 0", "Cache-Control: must-revalidate"), why: stale.WhyRevalidate},
		{rule: "5861 4", answer: list("Cache-Control: max-age=60, stale-if-error=120"), until: 180 * second, explicit: true},
		{rule: "5861 4, none", answer: list("Cache-Control: max-age=60, stale-if-error=0"), until: 59 * second, explicit: true},
		{rule: "5861 4, none and stale", answer: list("Cache-Control: stale-if-error=0"), why: stale.WhyTooOld},
		{rule: "5861 4, longer than MaxAge", answer: list("Cache-Control: stale-if-error=86400"), explicit: true},
		{rule: "5861 4, invalid: as if it were not there", answer: list("Cache-Control: stale-if-error=x")},
		{rule: "5861 4, in the request", request: list("Cache-Control: stale-if-error=20"), answer: list("Cache-Control: max-age=60"), until: 80 * second},
		{rule: "9111 4.2.3, Age", answer: list("Cache-Control: max-age=60, must-revalidate", "Age: 20, 30"), until: 39 * second},
		{rule: "9111 4.2.3, Age counts for MaxAge", answer: list("Age: 300"), until: 299 * second},
		{rule: "9111 4.2.3, apparent age", answer: list("Date: " + date(-300*second)), until: 299 * second},
		{rule: "9111 4.2.3, the greater of both", answer: list("Date: "+date(-300*second), "Age: 200"), until: 299 * second},
		{rule: "9111 4.2.3, Date ahead of us", answer: list("Date: " + date(300*second))},
		{rule: "9111 5.1, invalid", answer: list("Age: x")},
		{rule: "too old already", answer: list("Age: 600"), why: stale.WhyTooOld},
		{rule: "9110 12.5.5", answer: list("Vary: Accept, *"), why: stale.WhyVary},
		{rule: "9110 12.5.5, no field name", answer: list("Vary: a b"), why: stale.WhyVary},
		{rule: "9110 12.5.5, too many", answer: list("Vary: A,B,C,D,E,F,G,H,I,J,K,L,M,N,O,P,Q"), why: stale.WhyVary},
		{rule: "9111 3.5", request: user, why: stale.WhyCredentials},
		{rule: "9111 3.5 would permit it, we do not", request: user, answer: list("Cache-Control: public, max-age=60"), why: stale.WhyCredentials},
		{rule: "a credential that is not listed", request: append(user, "Cookie: a=b"), per: list("Authorization"), why: stale.WhyCredentials},
		{rule: "all listed", request: append(user, "Cookie: a=b"), per: list("Authorization", "Cookie:a")},
		{rule: "Cookie", request: list("Cookie: a=b"), why: stale.WhyCredentials},
		{rule: "Proxy-Authorization", request: list("Proxy-Authorization: Basic x"), why: stale.WhyCredentials},
		{rule: "X-Api-Key", request: list("X-Api-Key: x"), why: stale.WhyCredentials},
		{rule: "Set-Cookie begins a session", answer: list("Set-Cookie: a=b"), why: stale.WhySetCookie},
		{rule: "9111 7.3: public says that it does not matter", answer: list("Set-Cookie: a=b", "Cache-Control: public")},
		{rule: "Set-Cookie renews a session", request: list("Cookie: a=b"), per: list("Cookie:a"), answer: list("Set-Cookie: a=b")},
		{rule: "9110 8.6: not what it says", answer: list("Content-Length: 6"), why: stale.WhyCut},
		{rule: "9110 8.6: more than it says", answer: list("Content-Length: 4"), why: stale.WhyCut},
		{rule: "9110 8.6", answer: list("Content-Length: 5")},
		{rule: "203", status: 203}, {rule: "204", status: 204}, {rule: "300", status: 300}, {rule: "301", status: 301},
		{rule: "308", status: 308}, {rule: "404", status: 404}, {rule: "410", status: 410},
		{rule: "206 is a part", status: 206, answer: list("Cache-Control: max-age=60"), why: stale.WhyStatus},
		{rule: "302", status: 302, answer: list("Cache-Control: max-age=60"), why: stale.WhyStatus},
		{rule: "304 for nothing", status: 304, why: stale.WhyStatus},
		{rule: "401", status: 401, why: stale.WhyStatus}, {rule: "500", status: 500, why: stale.WhyStatus},
		{rule: "503", status: 503, why: stale.WhyStatus}, {rule: "501", status: 501, why: stale.WhyStatus},
	} {
		s := stale.New(stale.Settings{MaxAge: 600 * second, PerCredential: credentials(t, c.per...)})
		r := get("/a", c.request...)
		if why := record(s, r, max(c.status, 200), fields(c.answer...), "hello", start); why != c.why {
			t.Errorf("%s: why %q, want %q", c.rule, why, c.why)
			continue
		}
		if s.Stats().Recording != 0 {
			t.Errorf("%s: %d bytes are still held", c.rule, s.Stats().Recording)
		}
		if c.why != "" {
			if got := found(s, r, start); got != "-" || s.Stats().Entries != 0 {
				t.Errorf("%s: kept %q", c.rule, got)
			}
			continue
		}
		if c.until == 0 {
			c.until = 599 * second
		}
		if _, ok := s.StaleIfError(r, start.Add(c.until)); ok != c.explicit {
			t.Errorf("%s: stale-if-error %v, want %v", c.rule, ok, c.explicit)
		}
		if a, ok := s.Find(r, start.Add(c.until)); !ok || string(a.Body) != "hello" || a.Header["Link"] != nil || a.Header["X-User"] != nil || a.Header["X-Nonce"] != nil {
			t.Errorf("%s: after %v: %v", c.rule, c.until, a)
		}
		if got := found(s, r, start.Add(c.until+second)); got != "-" {
			t.Errorf("%s: still given after %v", c.rule, c.until+second)
		}
	}
}

func TestMethods(t *testing.T) {
	s := stale.New(stale.Settings{})
	body := get("/a")
	body.ContentLength = -1
	for _, r := range []*http.Request{request("HEAD", "/a"), request("POST", "/a"), request("OPTIONS", "/a"), body} {
		if why := record(s, r, 200, fields("Cache-Control: max-age=60"), "x", start); why != stale.WhyMethod {
			t.Errorf("%s: %q", r.Method, why)
		}
	}
	mustKeep(t, s, get("/a"), nil, "x", start)
	for _, r := range []*http.Request{request("POST", "/a"), request("PUT", "/a"), request("OPTIONS", "/a"), body} {
		if got := found(s, r, start); got != "-" {
			t.Errorf("%s got %q", r.Method, got)
		}
	}
}

// RFC 9111 section 2: the key is method and URI; hosts are case-insensitive, and
// all else is not.
func TestKey(t *testing.T) {
	s := stale.New(stale.Settings{})
	mustKeep(t, s, get("/a?username=u&page=1"), nil, "u1", start)
	upper := get("/a?username=u&page=1")
	upper.Host = "SHOP.example"
	if got := found(s, upper, start); got != "u1" {
		t.Errorf("host in upper case: %q", got)
	}
	other := get("/a?username=u&page=1")
	other.Host = "other.example"
	for _, r := range []*http.Request{get("/a"), get("/a?username=u"), get("/a?page=1&username=u"), get("/A?username=u&page=1"), other} {
		if got := found(s, r, start); got != "-" {
			t.Errorf("%s%s: %q", r.Host, r.RequestURI, got)
		}
	}
}

func TestVary(t *testing.T) {
	s := stale.New(stale.Settings{})
	vary := fields("Vary: accept-language", "Vary: Accept-Encoding, ,Accept-Language")
	mustKeep(t, s, get("/a", "Accept-Language: en"), vary, "en", start)
	mustKeep(t, s, get("/a", "Accept-Language: de"), vary, "de", start)
	mustKeep(t, s, get("/a"), vary, "none", start)
	for want, r := range map[string]*http.Request{
		"en":   get("/a", "Accept-Language:  en ", "X-Other: 1"),
		"de":   get("/a", "Accept-Language: de"),
		"none": get("/a"),
	} {
		if got := found(s, r, start); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, r := range []*http.Request{
		get("/a", "Accept-Language: fr"), get("/a", "Accept-Language: "), get("/a", "Accept-Language: en", "Accept-Encoding: gzip"),
		get("/a", "Accept-Language: en", "Accept-Language: de"),
	} {
		if got := found(s, r, start); got != "-" {
			t.Errorf("%v: %q", r.Header, got)
		}
	}
	// A newer variant for the same request replaces the older, also when it
	// varies by less, and of many the oldest goes.
	mustKeep(t, s, get("/a", "Accept-Language: en"), vary, "en2", start.Add(second))
	if got := found(s, get("/a", "Accept-Language: en"), start.Add(second)); got != "en2" || s.Stats().Entries != 3 {
		t.Errorf("%q, %d entries", got, s.Stats().Entries)
	}
	for i := range 40 {
		mustKeep(t, s, get("/a", "Accept-Language: x", "Accept-Encoding: "+string(rune('A'+i))), vary, "x", start.Add(2*second))
	}
	if n := s.Stats().Entries; n != 8 {
		t.Errorf("%d variants", n)
	}
	mustKeep(t, s, get("/a"), nil, "all", start.Add(3*second))
	if got := found(s, get("/a", "Accept-Language: fr"), start.Add(3*second)); got != "all" {
		t.Errorf("%q", got)
	}
}

// RFC 9111 section 4.3.4.
func TestNotModifiedRenews(t *testing.T) {
	s := stale.New(stale.Settings{MaxAge: 600 * second})
	r := get("/a", `If-None-Match: "1"`)
	mustKeep(t, s, r, fields(`Etag: "1"`, "Content-Type: text/plain", "Cache-Control: max-age=60"), "one", start)
	later := start.Add(500 * second)
	if why := record(s, r, 304, fields(`Etag: "2"`), "", later); why != stale.WhyStatus {
		t.Errorf("another validator: %q", why)
	}
	if why := record(s, r, 304, fields(`Etag: "1"`, "Cache-Control: max-age=120", "X-New: 1", "Content-Length: 0"), "", later); why != "" {
		t.Errorf("the same validator: %q", why)
	}
	a, ok := s.Find(r, later.Add(599*second))
	if !ok || string(a.Body) != "one" || a.Status != 200 || a.Header.Get("X-New") != "1" || a.Header.Get("Content-Type") != "text/plain" ||
		a.Header.Get("Cache-Control") != "max-age=120" || a.Header.Get("Content-Length") != "" || !a.Fresh.Equal(later.Add(120*second)) {
		t.Errorf("%+v", a)
	}
	if why := record(s, r, 304, fields(`Etag: "1"`, "Cache-Control: no-store"), "", later); why != stale.WhyNoStore || found(s, r, later) != "-" {
		t.Errorf("a 304 that forbids to keep it: %q, %q", why, found(s, r, later))
	}
}

// What the backend said last counts, also when that may not be kept.
func TestNewerAnswers(t *testing.T) {
	r := get("/a", "Cookie: sid=1")
	for _, c := range []struct {
		status int
		answer []string
		ends   bool
	}{
		{status: 401, ends: true}, {status: 403, ends: true}, {status: 302, ends: true}, {status: 451, ends: true},
		{status: 200, answer: []string{"Cache-Control: no-store"}, ends: true},
		{status: 200, answer: []string{"Cache-Control: no-cache"}, ends: true},
		{status: 200, answer: []string{"Vary: *"}, ends: true},
		{status: 206}, {status: 400}, {status: 416}, {status: 429}, {status: 500}, {status: 502}, {status: 503}, {status: 504},
		{status: 200, answer: []string{"Content-Length: 999999999"}},
		{status: 200, answer: []string{"Content-Length: 6"}},
		{status: 503, answer: []string{"Cache-Control: no-store"}},
	} {
		s := stale.New(stale.Settings{PerCredential: credentials(t, "Cookie:sid")})
		mustKeep(t, s, r, fields("Cache-Control: private"), "good", start)
		mustKeep(t, s, get("/a", "Cookie: sid=2"), fields("Cache-Control: private"), "other", start)
		if why := record(s, r, c.status, fields(c.answer...), "bad", start.Add(second)); why == "" {
			t.Errorf("%+v: kept", c)
		}
		if got := found(s, r, start.Add(second)); (got == "-") != c.ends || got == "bad" {
			t.Errorf("%+v: %q", c, got)
		}
		if got := found(s, get("/a", "Cookie: sid=2"), start.Add(second)); got != "other" {
			t.Errorf("%+v: another user has %q", c, got)
		}
	}
	// A request that forbids to keep its own answer has no say about others'.
	s := stale.New(stale.Settings{})
	mustKeep(t, s, get("/a"), nil, "good", start)
	record(s, get("/a", "Cache-Control: no-store"), 200, nil, "new", start)
	if got := found(s, get("/a"), start); got != "good" {
		t.Errorf("%q", got)
	}
	// Of two recordings the one that was made later is kept, whoever ends first.
	first, _ := s.Record(get("/a"), s.Mark(), 200, nil, start.Add(second))
	next, _ := s.Record(get("/a"), s.Mark(), 200, nil, start.Add(2*second))
	next.Write([]byte("next"))
	first.Write([]byte("first"))
	next.Done(start.Add(3*second), true)
	first.Done(start.Add(4*second), true)
	if got := found(s, get("/a"), start.Add(4*second)); got != "next" {
		t.Errorf("%q", got)
	}
}

// FAULTS row 18: an answer that did not reach its end is never kept.
func TestCut(t *testing.T) {
	s := stale.New(stale.Settings{})
	mustKeep(t, s, get("/a"), nil, "whole", start)
	for _, body := range []string{"", "who", "whole", "other", "wholesome"} {
		rec, why := s.Record(get("/a"), s.Mark(), 200, nil, start)
		if why != "" {
			t.Fatal(why)
		}
		rec.Write([]byte(body))
		if why := rec.Done(start, false); why != stale.WhyCut {
			t.Errorf("%q: %q", body, why)
		}
		if got := found(s, get("/a"), start); got != "whole" {
			t.Errorf("%q: %q is kept", body, got)
		}
	}
	// Shorter, longer and other bodies that are whole.
	for _, body := range []string{"", "who", "wholesome", "wholly different", "wh"} {
		if mustKeep(t, s, get("/a"), nil, body, start); found(s, get("/a"), start) != body {
			t.Errorf("%q, want %q", found(s, get("/a"), start), body)
		}
	}
	if st := s.Stats(); st.Entries != 1 || st.Recording != 0 {
		t.Errorf("%+v", st)
	}
}
