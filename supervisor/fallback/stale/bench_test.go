package stale_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

// An answer as the demo's orders service gives it, to a request as a browser and
// the front make it.
func benchRequest(uri, user string) *http.Request {
	return get(uri, "Accept: application/json", "Accept-Encoding: gzip", "Accept-Language: en", "User-Agent: Mozilla/5.0",
		"Cookie: csrftoken=0123456789abcdef; sessionid="+user+"; theme=dark", "X-Forwarded-For: 127.0.0.1",
		"X-Forwarded-Proto: http", "X-Forwarded-Host: shop.example", "X-Request-Id: 01a1fb65-108b-7c0b-861f-e88143c4c867")
}

func benchHeader(more ...string) http.Header {
	return fields(append(more, "Content-Type: application/json", "Content-Length: 512", "Vary: Accept, Cookie",
		"Cache-Control: private, max-age=0", "Date: "+start.Format(http.TimeFormat), "Server: legacy")...)
}

var benchBody = bytes.Repeat([]byte("x"), 512)

// The steady state: the backend gives what is kept already.
func BenchmarkRecordSame(b *testing.B) {
	s := stale.New(stale.Settings{PerCredential: credentials(b, "Authorization", "Cookie:sessionid")})
	r, h := benchRequest("/orders/order_history/?username=u&page=1", "s1"), benchHeader()
	b.ReportAllocs()
	for b.Loop() {
		benchRecord(b, s, r, h, benchBody)
	}
}

// As above, without credentials on either side.
func BenchmarkRecordSameAnonymous(b *testing.B) {
	s := stale.New(stale.Settings{})
	r, h := benchRequest("/catalog/1", ""), benchHeader()
	r.Header.Del("Cookie")
	h.Set("Cache-Control", "public, max-age=60")
	b.ReportAllocs()
	for b.Loop() {
		benchRecord(b, s, r, h, benchBody)
	}
}

// Another body each time, as with a clock in it.
func BenchmarkRecordChanged(b *testing.B) {
	s := stale.New(stale.Settings{PerCredential: credentials(b, "Cookie:sessionid")})
	r, h := benchRequest("/orders/", "s1"), benchHeader()
	bodies := [2][]byte{benchBody, bytes.Repeat([]byte("y"), 512)}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		benchRecord(b, s, r, h, bodies[i%2])
		i++
	}
}

// Another user each time, in a store that is full.
func BenchmarkRecordNew(b *testing.B) {
	s := stale.New(stale.Settings{Bytes: 8 << 20, PerCredential: credentials(b, "Cookie:sessionid")})
	h := benchHeader()
	var requests [1 << 14]*http.Request
	for i := range requests {
		requests[i] = benchRequest("/orders/", fmt.Sprint(i))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		benchRecord(b, s, requests[i%len(requests)], h, benchBody)
		i++
	}
}

func BenchmarkFind(b *testing.B) {
	s := stale.New(stale.Settings{PerCredential: credentials(b, "Authorization", "Cookie:sessionid")})
	r := benchRequest("/orders/order_history/?username=u&page=1", "s1")
	benchRecord(b, s, r, benchHeader(), benchBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Find(r, start); !ok {
			b.Fatal("not found")
		}
	}
}

// All processors on one store: what its one lock costs.
func BenchmarkParallel(b *testing.B) {
	s := stale.New(stale.Settings{PerCredential: credentials(b, "Cookie:sessionid")})
	h := benchHeader()
	var user atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := benchRequest("/orders/", fmt.Sprint(user.Add(1)))
		for pb.Next() {
			benchRecord(b, s, r, h, benchBody)
		}
	})
}

func benchRecord(b *testing.B, s *stale.Store, r *http.Request, h http.Header, body []byte) {
	rec, why := s.Record(r, s.Mark(), 200, h, start)
	if rec == nil {
		b.Fatal(why)
	}
	rec.Write(body)
	if why := rec.Done(start.Add(time.Millisecond), true); why != "" {
		b.Fatal(why)
	}
}
