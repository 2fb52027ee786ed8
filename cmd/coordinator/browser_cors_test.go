//go:build linux

package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// counter is a site before a storefront, with the pages that come to it.
type counter struct {
	*site
	backend          *storefront
	listed, unlisted *page
	origin           string // of the listed page
	asked            int
}

// Pages on other origins: the backend's answers carry the backend's policy, and
// the coordinator's own are for listed origins.
func testBrowserCORS(t *testing.T, b *browser) {
	listed, unlisted := serveDocument(t, "http"), serveDocument(t, "http")
	backend := openStorefront(t, listed)
	c := &counter{backend: backend, origin: listed, site: newSite(t)}
	names := []string{"shop", "mute", "puts", "tight"}
	settings := []string{"COORDINATOR_BULKHEADS=" + strings.Join(names, ",")}
	for _, name := range names {
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"BACKEND="+backend.srv.URL, prefix+"ROUTES=/"+name, prefix+"STRIP_PREFIX=/"+name,
			prefix+"WORKERS=1", prefix+"BREAKER_MODE=closed", prefix+"CORS_ORIGINS="+listed)
	}
	c.set(append(settings, "BULKHEAD_MUTE_CORS_ORIGINS=", "BULKHEAD_PUTS_ROUTES=PUT /puts",
		"BULKHEAD_SHOP_MAX_BODY=256KiB", "BULKHEAD_TIGHT_LIMIT=1", "BULKHEAD_TIGHT_QUEUE=0")...)
	c.start()
	c.listed, c.unlisted = b.open(t, listed), b.open(t, unlisted)

	t.Run("up", func(t *testing.T) { c.in(t).up() })
	t.Run("own route", func(t *testing.T) { c.in(t).ownRoute() })
	t.Run("body too large", func(t *testing.T) { c.in(t).tooLarge() })
	t.Run("queue full", func(t *testing.T) { c.in(t).full() })
	t.Run("breaker open", func(t *testing.T) {
		c := c.in(t)
		c.must("breaker", "shop", "open")
		c.refused("shop", 503, "breaker_open", "refused")
		c.must("breaker", "shop", "closed")
	})
	t.Run("draining", func(t *testing.T) {
		c := c.in(t)
		c.must("drain", "shop")
		c.refused("shop", 503, "draining", "refused")
		c.must("resume", "shop")
	})
	t.Run("down", func(t *testing.T) {
		c := c.in(t)
		backend.srv.Close()
		c.refused("shop", 502, "backend_refused", "never_sent")
		if get, put := c.listed.get(c.path("mute")), c.listed.put(c.path("mute"), "{}"); !get.blank() || !put.blank() {
			t.Errorf("without CORS_ORIGINS a page sees %+v and %+v", get, put)
		}
	})
	t.Run("up again", func(t *testing.T) {
		backend.reopen(t)
		c.in(t).up()
	})
}

// in is c whose failures are those of a part of the test.
func (c *counter) in(t *testing.T) *counter {
	c.t, c.listed.t, c.unlisted.t = t, t, t
	return c
}

// path is one that was not asked for before, so that no permission is remembered.
func (c *counter) path(bulkhead string) string {
	c.asked++
	return fmt.Sprintf("%s/%s/stock?%d", c.url, bulkhead, c.asked)
}

func queryOf(url string) string {
	_, query, _ := strings.Cut(url, "?")
	return query
}

// untouched wants the fields of the backend, and of the coordinator the id alone.
func (c *counter) untouched(a arrival, status int, want http.Header) {
	c.t.Helper()
	got := maps.Clone(a.header)
	for _, name := range []string{"Date", "Content-Length"} {
		delete(got, name)
	}
	if got.Get("X-Request-Id") == "" {
		c.t.Errorf("%s: no X-Request-Id", a.url)
	}
	delete(got, "X-Request-Id")
	if a.status != status || !maps.EqualFunc(got, want, slices.Equal) {
		c.t.Errorf("%s: %d %v, want %d %v", a.url, a.status, got, status, want)
	}
}

// up is how it looks while the backend answers.
func (c *counter) up() {
	c.t.Helper()
	for _, bulkhead := range []string{"shop", "mute"} {
		basket := strings.Replace(c.path(bulkhead), "/stock", "/basket", 1)
		if s := c.listed.get(basket); s.Status != 200 || s.Header["set-cookie"] != "" {
			c.t.Errorf("%s: %+v", basket, s)
		}
		url := c.path(bulkhead)
		s := c.listed.put(url, `{"n":1}`)
		if s.Status != 202 || s.Body != `{"n":1}` || s.Header["x-stock"] != "7" || s.Error != "" {
			c.t.Errorf("%s: the page sees %+v", url, s)
		}
		for _, name := range []string{"x-shelf", "x-request-id"} {
			if s.Header[name] != "" {
				c.t.Errorf("%s: the page sees %s, which the backend does not expose", url, name)
			}
		}
		c.untouched(c.listed.arrived(url, true), 204, permission(c.origin))
		c.untouched(c.listed.arrived(url, false), 202, answered(c.origin))
		path := "/stock?" + queryOf(url)
		want := []visit{{"OPTIONS", path, "", ""}, {"PUT", path, "basket=42", "token"}}
		if got := c.backend.visits(queryOf(url)); !slices.Equal(got, want) {
			c.t.Errorf("%s: the backend saw %v, want %v", url, got, want)
		}
	}
	c.hidden("shop", 1)
}

// hidden wants a page of another origin to see nothing, and its PUT not to come
// further than its preflight: that many requests reach the backend, of two.
func (c *counter) hidden(bulkhead string, reach int) {
	c.t.Helper()
	get, put := c.path(bulkhead), c.path(bulkhead)
	if s := c.unlisted.get(get); !s.blank() {
		c.t.Errorf("%s: an origin that is not listed sees %+v", get, s)
	}
	if s := c.unlisted.put(put, "{}"); !s.blank() {
		c.t.Errorf("%s: an origin that is not listed sees %+v", put, s)
	}
	preflight := c.unlisted.arrived(put, true)
	if preflight.header.Get("Access-Control-Allow-Origin") != "" {
		c.t.Errorf("%s: %v", put, preflight.header)
	}
	got := c.backend.visits(queryOf(put))
	if len(got) != reach || reach == 1 && got[0].method != http.MethodOptions {
		c.t.Errorf("%s: the backend saw %v", put, got)
	}
}

// refused wants the coordinator's own answers: permission for what a preflight
// asks, and a problem that the page can read, reason and all.
func (c *counter) refused(bulkhead string, status int, reason, outcome string) {
	c.t.Helper()
	get, put := c.path(bulkhead), c.path(bulkhead)
	for url, s := range map[string]sight{get: c.listed.get(get), put: c.listed.put(put, "{}")} {
		c.problem(url, s, status, reason, outcome)
		if got := c.backend.visits(queryOf(url)); len(got) != 0 {
			c.t.Errorf("%s: the backend saw %v", url, got)
		}
	}
	c.permitted(put)
	c.hidden(bulkhead, 0)
}

func (c *counter) problem(url string, s sight, status int, reason, outcome string) {
	c.t.Helper()
	seen := answer{status: fmt.Sprint(s.Status), header: make(http.Header), body: s.Body}
	for name, value := range s.Header {
		seen.header.Set(name, value)
	}
	if s.Error != "" {
		c.t.Errorf("%s: the page sees %s", url, s.Error)
	}
	wantProblem(c.t, seen, status, reason, outcome, true)
}

// permitted wants the preflight of a PUT answered by the coordinator.
func (c *counter) permitted(url string) {
	c.t.Helper()
	a := c.listed.arrived(url, true)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": c.origin, "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "PUT",
		"Access-Control-Allow-Headers": "content-type,x-csrftoken", "Access-Control-Max-Age": "0", "X-Answered-By": "",
	} {
		if got := a.header.Get(name); a.status != 204 || got != want {
			c.t.Errorf("%s: preflight %d, %s: %q, want %q", url, a.status, name, got, want)
		}
	}
}

// ownRoute asks where there is a route for PUT and none for OPTIONS: no backend
// could answer that preflight.
func (c *counter) ownRoute() {
	url := c.path("puts")
	if s := c.listed.put(url, `{"n":2}`); s.Status != 202 || s.Body != `{"n":2}` || s.Header["x-stock"] != "7" {
		c.t.Errorf("%s: the page sees %+v", url, s)
	}
	c.permitted(url)
	c.untouched(c.listed.arrived(url, false), 202, answered(c.origin))
	c.hidden("puts", 0)
}

// tooLarge is told of a body that nobody reads: more than net/http takes behind
// an answer to spare the connection.
func (c *counter) tooLarge() {
	url := c.path("shop")
	var s sight
	c.listed.call(&s, "upload", url, 1<<20)
	c.problem(url, s, 413, "body_too_large", "refused")
}

// full has one request hold the only slot.
func (c *counter) full() {
	c.listed.call(nil, "begin", c.url+"/tight/hang")
	receive(c.t, c.backend.begun, "the slot is held")
	c.refused("tight", 503, "queue_full", "refused")
	var held sight
	c.listed.call(&held, "abort")
	receive(c.t, c.backend.left, "the slot is given back")
	if held.Error != "AbortError" {
		c.t.Errorf("the page that left sees %+v", held)
	}
}

func receive(t *testing.T, from <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(pageTime):
		t.Fatalf("not within %v: %s", pageTime, what)
	}
}
