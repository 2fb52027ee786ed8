package backend_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/exchange"
)

func TestHTTP2AnswersRefused(t *testing.T) {
	flood := func(f *framed, id uint32) {
		for range 200 {
			f.fields(id, false, ":status", "103", "link", "x")
		}
	}
	for name, tc := range map[string]struct {
		stage  exchange.Stage
		answer func(f *framed, id uint32)
	}{
		"no status":          {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, "a", "b") }},
		"two digits":         {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "20") }},
		"no number":          {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "2x0") }},
		"101":                {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "101") }},
		"request's fields":   {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", ":path", "/") }},
		"unknown pseudo":     {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", ":x", "/") }},
		"upper case":         {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "A", "b") }},
		"control bytes":      {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "a", "b\n") }},
		"1xx that ends":      {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "103") }},
		"flood of 103":       {exchange.Sent, flood},
		"data first":         {exchange.Sent, func(f *framed, id uint32) { f.WriteData(id, true, []byte("x")) }},
		"head too large":     {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "a", strings.Repeat("x", 1<<21)) }},
		"push":               {exchange.Sent, func(f *framed, id uint32) { f.WriteRawFrame(http2.FramePushPromise, 4, id, []byte{0, 0, 0, 2}) }},
		"stream never begun": {exchange.Sent, func(f *framed, id uint32) { f.WriteWindowUpdate(id+2, 1) }},
		"window overflow":    {exchange.Sent, func(f *framed, id uint32) { f.WriteWindowUpdate(id, 1<<31-1) }},
		"garbage":            {exchange.Sent, func(f *framed, id uint32) { f.say("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		"connection field":   {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "connection", "close") }},
		"transfer-encoding":  {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "transfer-encoding", "chunked") }},
		"two lengths": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, true, ":status", "200", "content-length", "0", "content-length", "0")
		}},
		"length with sign": {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "content-length", "+0") }},
		"no data":          {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "content-length", "2") }},
		"less data": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200", "content-length", "2")
			f.WriteData(id, true, []byte("x"))
		}},
		"more data": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200", "content-length", "2")
			f.WriteData(id, true, []byte("xyz"))
		}},
		"data for a 204": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "204")
			f.WriteData(id, true, []byte("x"))
		}},
		"trailers that go on": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, false, "a", "b")
		}},
		"trailers with a status": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, true, ":status", "200")
		}},
		"trailer that frames": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, true, "content-length", "0")
		}},
		"beyond the window": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			for range 20 {
				f.WriteData(id, false, make([]byte, 16<<10))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			var reset atomic.Bool
			b := frames(t, nil, func(f *framed) {
				if id := f.request(); id != 0 {
					tc.answer(f, id)
					reset.Store(f.reset() != nil)
					f.next()
				}
			})
			tr := newHTTP2(t)
			resp, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil))
			if err == nil {
				if name == "beyond the window" { // a reader that reads would make room
					eventually(t, "the stream to be refused", reset.Load)
				}
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			wantFault(t, err, exchange.BackendProtocol, tc.stage)
			tr.Close()
		})
	}
}

// overrun reports that all the window has come.
func overrun(resp *http.Response) bool {
	return resp.Body.(interface{ Buffered() int }).Buffered() >= 256<<10
}

func TestHTTP2AnswersTaken(t *testing.T) {
	b := frames(t, nil, func(f *framed) {
		for id := f.request(); id != 0; id = f.request() {
			switch f.asked[id][":path"] {
			case "/trailers":
				f.fields(id, false, ":status", "200", "trailer", "x-a")
				f.WriteDataPadded(id, false, []byte("padded"), make([]byte, 100))
				f.fields(id, true, "x-a", "1", "x-b", "2")
			case "/nothing":
				f.fields(id, true, ":status", "200")
			case "/later": // the end comes alone
				f.fields(id, false, ":status", "200", "content-length", "2")
				f.WriteData(id, false, []byte("ok"))
				f.WriteData(id, true, nil)
			case "/head":
				f.fields(id, true, ":status", "200", "content-length", "100")
			case "/unread": // an answer, and the rest of the request is not wanted
				f.fields(id, false, ":status", "200", "content-length", "2")
				f.WriteData(id, true, []byte("ok"))
				f.WriteRSTStream(id, http2.ErrCodeNo)
			}
		}
	})
	tr := newHTTP2(t)
	for _, tc := range []struct {
		method, path, body, trailer string
		length                      int64
	}{
		{"GET", "/trailers", "padded", "map[X-A:[1] X-B:[2]]", -1}, {"GET", "/nothing", "", "map[]", 0},
		{"GET", "/later", "ok", "map[]", 2}, {"HEAD", "/head", "", "map[]", 100}, {"POST", "/unread", "ok", "map[]", 2},
	} {
		req := newRequest(t, b, tc.method, tc.path, nil)
		if tc.method == "POST" {
			body, feed := io.Pipe()
			req.Body = body
			defer feed.Close()
		}
		resp, body, err := run(tr, req)
		if err != nil || body != tc.body || resp.ContentLength != tc.length || fmt.Sprint(resp.Trailer) != tc.trailer {
			t.Errorf("%s: %q, %v, %v", tc.path, body, resp, err)
		}
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
