package idempotency_test

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"

	"commerce.example/coordinator/supervisor/idempotency"
)

var benchHeader = http.Header{
	"Content-Type": {"application/json"}, "Content-Length": {"456"}, "Date": {start.Format(http.TimeFormat)},
	"Location": {"/api/payments/17"}, "Server": {"legacy"},
}

func benchRequest(key string) *http.Request {
	return post(key, "", "Authorization: Bearer 0123456789abcdef0123456789abcdef", "Cookie: sessionid=0123456789abcdef", "User-Agent: Mozilla/5.0")
}

// A payment with a new key, of which half a kilobyte goes each way.
func BenchmarkFirst(b *testing.B) {
	s := newStore(idempotency.Settings{Keys: 1 << 30, Bytes: 8 << 20})
	r := benchRequest("k")
	text := bytes.Repeat([]byte("x"), 456)
	buf := make([]byte, 512)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		r.Header["Idempotency-Key"][0] = "8e03978e-40d5-43dd-bc93-" + strconv.Itoa(i)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		c := s.Begin(r, start).Claim
		body := c.Body(r.Body)
		for err := error(nil); err == nil; {
			_, err = body.Read(buf)
		}
		c.Record(201, benchHeader)
		c.Write(text)
		c.Done("done", start)
	}
}

func BenchmarkRepeat(b *testing.B) {
	s := newStore(idempotency.Settings{})
	text := bytes.Repeat([]byte("x"), 456)
	r := benchRequest("8e03978e-40d5-43dd-bc93-6894a57f9324")
	send := func() idempotency.Ruling {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		return s.Begin(r, start)
	}
	c := send().Claim
	io.Copy(io.Discard, c.Body(r.Body))
	c.Record(201, benchHeader)
	c.Write(text)
	c.Done("done", start)
	b.ReportAllocs()
	for b.Loop() {
		if send().Verdict != idempotency.Repeat {
			b.Fatal("no repeat")
		}
	}
}

func BenchmarkUnkeyed(b *testing.B) {
	s := newStore(idempotency.Settings{})
	r := benchRequest("")
	b.ReportAllocs()
	for b.Loop() {
		s.Begin(r, start)
	}
}
