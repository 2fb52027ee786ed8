//go:build linux

package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// stall is a site before a storefront, with a page of another origin of the same
// scheme: a browser takes http and https for different sites, which share no
// cookies.
type stall struct {
	t       *testing.T
	url     string // of the bulkhead
	proto   string // that the browser has to choose, as it calls it
	page    *page
	backend *storefront
}

// What lasts longer than an answer, and what ends early, over HTTP/1.1 and over
// the HTTP/2 that the browser chooses where there is TLS.
func testBrowserStreams(t *testing.T, b *browser, scheme string) {
	origin := serveDocument(t, scheme)
	s := &stall{backend: openStorefront(t, origin), proto: "http/1.1"}
	site := newSite(t)
	site.set("COORDINATOR_BULKHEADS=shop", "BULKHEAD_SHOP_ROUTES=/shop", "BULKHEAD_SHOP_STRIP_PREFIX=/shop",
		"BULKHEAD_SHOP_BACKEND="+s.backend.srv.URL, "BULKHEAD_SHOP_WORKERS=1", "BULKHEAD_SHOP_BREAKER_MODE=closed")
	if scheme == "https" {
		cert, key := issue(t, nil, nil).files(t, site.dir+"/front")
		site.set("COORDINATOR_TLS_CERT="+cert, "COORDINATOR_TLS_KEY="+key)
		s.proto = "h2"
	}
	site.start()
	s.url = strings.Replace(site.url, "http:", scheme+":", 1) + "/shop"
	s.page = b.open(t, origin)
	for _, c := range []struct {
		name string
		look func(*stall)
	}{
		{"protocol", (*stall).protocol}, {"events", (*stall).events}, {"websocket", (*stall).websocket},
		{"abort", (*stall).abort}, {"cut", (*stall).cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t, s.page.t = t, t
			c.look(s)
		})
	}
}

// protocol is what both the network and the page say, on one connection.
func (s *stall) protocol() {
	var conn float64
	for i := range 5 {
		url := fmt.Sprintf("%s/basket?%d", s.url, i)
		if seen := s.page.get(url); seen.Status != 200 || seen.Header["x-stock"] != "7" {
			s.t.Fatalf("%+v", seen)
		}
		a := s.page.arrived(url, false)
		var said string
		s.page.call(&said, "protocol", url)
		if a.protocol != s.proto || said != s.proto {
			s.t.Errorf("%s: over %q, the page says %q; want %q", url, a.protocol, said, s.proto)
		}
		if i > 0 && a.conn != conn {
			s.t.Errorf("%s: on connection %v, the one before on %v", url, a.conn, conn)
		}
		conn = a.conn
	}
	url := s.url + "/stock?put"
	if seen := s.page.put(url, "{}"); seen.Status != 202 || seen.Body != "{}" {
		s.t.Errorf("%+v", seen)
	}
	if a := s.page.arrived(url, true); a.protocol != s.proto || a.status != 204 {
		s.t.Errorf("preflight: %d over %q", a.status, a.protocol)
	}
}

// events reach the page one by one: each before the next is sent.
func (s *stall) events() {
	s.page.call(nil, "listen", s.url+"/events")
	for i := range 5 {
		if got := s.page.next(); got != fmt.Sprint(i) {
			s.t.Fatalf("event %d is %q", i, got)
		}
		select {
		case s.backend.next <- struct{}{}:
		case <-time.After(pageTime):
			s.t.Fatal("nobody waits to send the next event")
		}
	}
	if got := s.page.next(); got != "end" {
		s.t.Errorf("behind the last event: %q", got)
	}
}

// websocket is a conversation, with the page's cookie, and its end.
func (s *stall) websocket() {
	s.page.call(nil, "converse", "ws"+strings.TrimPrefix(s.url, "http")+"/ws")
	if got := s.page.next(); got != "open" {
		s.t.Fatalf("instead of an open socket: %q", got)
	}
	for i := range 3 {
		word := fmt.Sprintf("word %d", i)
		s.page.call(nil, "say", word)
		if got := s.page.next(); got != "basket=42 "+word {
			s.t.Fatalf("%q comes back as %q", word, got)
		}
	}
	s.page.call(nil, "say", "bye")
	if got := s.page.next(); got != "closed 4001" {
		s.t.Errorf("at the end: %q", got)
	}
}

// abort in the page is one at the backend.
func (s *stall) abort() {
	s.page.call(nil, "begin", s.url+"/hang")
	receive(s.t, s.backend.begun, "the backend has the request")
	var seen sight
	s.page.call(&seen, "abort")
	receive(s.t, s.backend.left, "the backend is told that the page left")
	if seen.Error != "AbortError" {
		s.t.Errorf("the page sees %+v", seen)
	}
	if seen := s.page.get(s.url + "/basket?after"); seen.Status != 200 {
		s.t.Errorf("behind an abort: %+v", seen)
	}
}

// cut is an answer that breaks off: the page must not take it for whole. Whether
// it sees the head before it learns of the end is a matter of time.
func (s *stall) cut() {
	if seen := s.page.get(s.url + "/cut"); seen.Body != "" || seen.Error != "TypeError" {
		s.t.Errorf("of half an answer the page sees %+v", seen)
	}
}
