package stale_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

// origin is what a body of these tests says of the request it is for.
type origin struct {
	URL            string
	Auth           []string
	Session        string // the value of the cookie sid; "": none
	HasSession     bool
	Vary           map[string][]string
	VariesByCookie bool
	Unkeepable     string   // must not be found at all
	AllCookies     []string // where they can be read in several ways, or Vary names them and none of them is listed
}

// A crossing is one request of the property test, with what is true of it.
type crossing struct {
	r       *http.Request
	session string
	has     bool
	odd     bool // its cookies can be read in several ways
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomRequest(rng *rand.Rand) crossing {
	c := crossing{r: get(pick(rng, "/a", "/b", "/a?username=1", "/a?username=2"))}
	h := c.r.Header
	if rng.IntN(2) == 0 {
		h["Authorization"] = []string{pick(rng, "Bearer 1", "Bearer 2", "Bearer 1 ", "")}
	}
	if rng.IntN(2) == 0 {
		cookies := []string{"theme=" + pick(rng, "dark", "light"), "_ga=" + pick(rng, "1", "1", "1", fmt.Sprint(rng.IntN(1000))), "mysid=7"}
		if c.has = rng.IntN(3) > 0; c.has {
			c.session = pick(rng, "1", "2", "1=2")
			cookies = append(cookies, "sid="+c.session)
		}
		if rng.IntN(2) == 0 {
			rng.Shuffle(len(cookies), func(i, j int) { cookies[i], cookies[j] = cookies[j], cookies[i] })
		}
		if n := rng.IntN(len(cookies)); rng.IntN(4) == 0 && n > 0 { // as HTTP/2 may send them
			h["Cookie"] = []string{strings.Join(cookies[:n], "; "), strings.Join(cookies[n:], ";")}
		} else {
			h["Cookie"] = []string{strings.Join(cookies, "; ")}
		}
		if c.odd = rng.IntN(10) == 0; c.odd {
			h["Cookie"] = append(h["Cookie"], pick(rng, "s%69d=3", "x=1,sid=3", `x="a sid=3"`, "sid =3"))
		}
	}
	if rng.IntN(10) == 0 {
		h.Set("X-Api-Key", "k") // not listed
	}
	for _, name := range []string{"Accept-Language", "X-Tenant"} {
		if rng.IntN(2) == 0 {
			h.Set(name, pick(rng, "1", "2"))
		}
	}
	return c
}

func (c *crossing) origin(answer http.Header) origin {
	o := origin{URL: c.r.RequestURI, Auth: c.r.Header["Authorization"], Session: c.session, HasSession: c.has, Vary: make(map[string][]string)}
	if c.odd || !c.has && strings.Contains(strings.Join(answer["Vary"], ","), "Cookie") {
		o.VariesByCookie = true
		o.AllCookies = c.r.Header["Cookie"]
	}
	for _, name := range []string{"Accept-Language", "X-Tenant"} {
		if strings.Contains(strings.Join(answer["Vary"], ","), name) {
			o.Vary[name] = c.r.Header[name]
		}
	}
	cc := answer.Get("Cache-Control")
	anonymous := len(o.Auth) == 0 && !c.has && !c.odd
	switch {
	case c.r.Header["X-Api-Key"] != nil:
		o.Unkeepable = "a credential that is not listed"
	case strings.Contains(cc, "no-store"), strings.Contains(cc, "no-cache"), strings.HasPrefix(cc, "private") && !strings.Contains(cc, "=\"") && anonymous:
		o.Unkeepable = cc
	case answer["Set-Cookie"] != nil && anonymous:
		o.Unkeepable = "Set-Cookie"
	case answer.Get("Vary") == "*":
		o.Unkeepable = "Vary: *"
	}
	return o
}

// wrongFor says why c must not get the answer that was for o.
func (c *crossing) wrongFor(o origin) string {
	mine := c.origin(nil)
	switch {
	case o.Unkeepable != "":
		return o.Unkeepable
	case c.r.Header["X-Api-Key"] != nil:
		return "it has a credential that is not listed"
	case o.URL != mine.URL:
		return "another URL"
	case !slices.Equal(o.Auth, mine.Auth):
		return "another Authorization"
	case o.HasSession != mine.HasSession || o.Session != mine.Session:
		return "another session"
	case o.VariesByCookie && !slices.Equal(o.AllCookies, c.r.Header["Cookie"]), mine.VariesByCookie && !o.VariesByCookie:
		return "cookies that may mean another user"
	}
	for name, values := range o.Vary {
		if !slices.Equal(values, c.r.Header[name]) {
			return "another " + name
		}
	}
	return ""
}

// step does one thing at random, and reports whether it found an answer.
func step(t *testing.T, s *stale.Store, rng *rand.Rand, now time.Time) (asked, hit int) {
	c := randomRequest(rng)
	switch n := rng.IntN(100); {
	case n < 50:
		h := make(http.Header)
		if v := pick(rng, "", "private", "public", "no-store", "no-cache", "max-age=5", "private, max-age=5", `private="X-User"`); v != "" {
			h.Set("Cache-Control", v)
		}
		if v := pick(rng, "", "", "Cookie", "Accept-Language", "Accept-Language, X-Tenant", "X-Tenant, Cookie, Authorization", "*"); v != "" {
			h.Set("Vary", v)
		}
		if rng.IntN(10) == 0 && !strings.Contains(h.Get("Cache-Control"), "public") {
			h.Set("Set-Cookie", "sid=9")
		}
		body, err := json.Marshal(c.origin(h))
		if err != nil {
			t.Fatal(err)
		}
		rec, _ := s.Record(c.r, s.Mark(), 200, h, now)
		if rec == nil {
			return 0, 0
		}
		rec.Write(body[:len(body)/2])
		complete := rng.IntN(10) > 0
		if complete {
			rec.Write(body[len(body)/2:])
		}
		rec.Done(now, complete)
	case n < 97:
		a, ok := s.Find(c.r, now)
		if !ok {
			return 1, 0
		}
		var o origin
		if err := json.Unmarshal(a.Body, &o); err != nil {
			t.Fatalf("half an answer: %q", a.Body)
		}
		if wrong := c.wrongFor(o); wrong != "" {
			t.Fatalf("%s got %s: %s", c.r.Header, a.Body, wrong)
		}
		if a.Header["Set-Cookie"] != nil {
			t.Fatalf("Set-Cookie is given out again: %v", a.Header)
		}
		return 1, 1
	case n < 99:
		s.Invalidate(request("POST", c.r.RequestURI), 200, nil, now)
	default:
		list := pick(rng, []string{"Authorization", "Cookie:sid"}, []string{"Cookie:sid", "Authorization"})
		s.Apply(stale.Settings{Bytes: int64(pick(rng, 16<<10, 1<<20)), MaxAge: time.Minute, PerCredential: credentials(t, list...)}, now)
	}
	return 0, 0
}

// No answer ever crosses: not from one credential to another, not from or to
// none, not to another URL, not to another variant.
func TestNothingCrosses(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	asked, hits := 0, 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		s := stale.New(stale.Settings{MaxAge: time.Minute, PerCredential: credentials(t, "Authorization", "Cookie:sid")})
		now := start
		for range 2000 {
			now = now.Add(time.Duration(rng.IntN(50)) * time.Millisecond)
			a, h := step(t, s, rng, now)
			asked, hits = asked+a, hits+h
		}
	}
	if hits*20 < asked {
		t.Errorf("only %d of %d found anything: nothing is tested", hits, asked)
	}
	t.Logf("%d of %d found something", hits, asked)
}

// The same with all at once.
func TestNothingCrossesConcurrently(t *testing.T) {
	s := stale.New(stale.Settings{MaxAge: time.Minute, PerCredential: credentials(t, "Authorization", "Cookie:sid")})
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 6))
			for i := range 3000 {
				step(t, s, rng, start.Add(time.Duration(i)*time.Millisecond))
				if i%100 == 0 {
					_ = s.Stats()
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Recording != 0 || st.Bytes > 64<<20 {
		t.Errorf("%+v", st)
	}
}

// A list that changes changes who everybody is: nothing of before is given.
func TestApplyAnotherList(t *testing.T) {
	s := stale.New(stale.Settings{PerCredential: credentials(t, "Cookie:a")})
	b := get("/", "Cookie: b=1") // nobody, as far as a tells
	mustKeep(t, s, b, nil, "b's", start)
	begun, _ := s.Record(b, s.Mark(), 200, nil, start)
	begun.Write([]byte("b's, too"))
	s.Apply(stale.Settings{PerCredential: credentials(t, "Cookie:b")}, start)
	if why := begun.Done(start, true); why != stale.WhyInvalidated {
		t.Errorf("begun before: %q", why)
	}
	for _, r := range []*http.Request{get("/"), b, get("/", "Cookie: a=1")} {
		if got := found(s, r, start); got != "-" {
			t.Errorf("%v: %q", r.Header, got)
		}
	}
	if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 || st.Recording != 0 {
		t.Errorf("%+v", st)
	}
	mustKeep(t, s, get("/"), nil, "again", start)
	s.Apply(stale.Settings{PerCredential: credentials(t, "Cookie:b", "Cookie:b"), MaxAge: time.Hour}, start)
	if got := found(s, get("/"), start.Add(30*time.Minute)); got != "again" {
		t.Errorf("the same list: %q", got)
	}
}

// Vary on cookies is satisfied by the cookie that is listed: csrf and analytics
// cookies change all the time.
func TestPickedCookie(t *testing.T) {
	s := stale.New(stale.Settings{PerCredential: credentials(t, "Cookie:sessionid")})
	mustKeep(t, s, get("/", "Cookie: _ga=1; sessionid=s1"), fields("Vary: Accept, Cookie", "Cache-Control: private"), "s1's", start)
	for cookie, want := range map[string]string{
		"sessionid=s1":              "s1's",
		"_ga=2;sessionid=s1 ; x":    "s1's",
		"sessionid=s2":              "-",
		"sessionid=s1; sessionid=x": "-",
		"SESSIONID=s1":              "-",
		"xsessionid=s1":             "-",
		"_ga=sessionid=s1":          "-",
		"session%69d=s1":            "-",
		`_ga="; sessionid=s1"`:      "-",
		"":                          "-",
	} {
		if got := found(s, get("/", "Cookie: "+cookie), start); got != want {
			t.Errorf("%q: %q, want %q", cookie, got, want)
		}
	}
	// What may be another's session for the backend is not nobody's.
	mustKeep(t, s, get("/n"), nil, "nobody's", start)
	for _, cookie := range []string{"session%69d=s1", "a=b,sessionid=s1", "sessionid =s1", "Sessionid=s1"} {
		if got := found(s, get("/n", "Cookie: "+cookie), start); got != "-" {
			t.Errorf("%q: %q", cookie, got)
		}
	}
	if got := found(s, get("/n", "Cookie: _ga=3"), start); got != "nobody's" {
		t.Errorf("a cookie that does not count: %q", got)
	}
}
