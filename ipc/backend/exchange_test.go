package backend_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// The standard transport would send each of these a second time.
func TestNeverResends(t *testing.T) {
	for _, tc := range []struct{ method, key string }{{"GET", ""}, {"DELETE", ""}, {"POST", "k-1"}, {"GET", "k-2"}} {
		t.Run(tc.method+tc.key, func(t *testing.T) {
			var seen atomic.Int64
			b := serve(t, func(p *peer) {
				for n := 0; p.head() != ""; n++ {
					seen.Add(1)
					if n > 0 {
						return // it took the request from a reused connection, and hangs up
					}
					p.say(ok)
				}
			})
			tr := newTransport(t)
			if _, _, err := get(t, tr, b); err != nil {
				t.Fatal(err)
			}
			rep := newReporter(t.Context())
			req := newRequest(t, b, tc.method, "/", nil).WithContext(rep)
			if tc.key != "" {
				req.Header.Set("Idempotency-Key", tc.key)
			}
			_, _, err := run(tr, req)
			wantFault(t, err, exchange.BackendReset, exchange.Sent)
			if n := seen.Load(); n != 2 {
				t.Errorf("the backend saw %d requests, want 2", n)
			}
			if n := b.conns.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			if got := rep.story(); got != "attach sent detach" {
				t.Errorf("the exchange was told %q", got)
			}
		})
	}
}

func TestIdleConnectionsAreLookedAt(t *testing.T) {
	for name, spoil := range map[string]func(p *peer){
		"unsolicited bytes": func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") },
		"one byte":          func(p *peer) { p.say("\n") },
		"half-close":        func(p *peer) { p.Conn.(*net.TCPConn).CloseWrite() },
		"reset":             func(p *peer) { p.Conn.(*net.TCPConn).SetLinger(0); p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := make(chan struct{})
			b := serve(t, func(p *peer) {
				if p.nth == 1 {
					p.head()
					p.say(ok)
					<-spoiled
					spoil(p)
					spoiled <- struct{}{}
					p.head()
					return
				}
				always(ok)(p)
			})
			tr := newTransport(t)
			if _, _, err := get(t, tr, b); err != nil {
				t.Fatal(err)
			}
			spoiled <- struct{}{}
			<-spoiled // loopback: what was written is there
			req := newRequest(t, b, "POST", "/", nil)
			if _, body, err := run(tr, req); err != nil || body != "ok" {
				t.Fatal(body, err)
			}
			if n := b.conns.Load(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// What comes in one packet with an answer is not the next one.
func TestLeftOverBytes(t *testing.T) {
	b := serve(t, func(p *peer) {
		p.head()
		p.say(ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		p.head()
	})
	tr := newTransport(t)
	for range 3 {
		if _, body, err := get(t, tr, b); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
	}
	if n := b.conns.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestConnectionsRetire(t *testing.T) {
	b := serve(t, always(ok))
	for name, tr := range map[string]*backend.Transport{
		"age":  {ConnMaxAge: time.Nanosecond},
		"idle": {IdleTimeout: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			defer tr.Close()
			before := b.conns.Load()
			for range 3 {
				if _, _, err := get(t, tr, b); err != nil {
					t.Fatal(err)
				}
			}
			if n := b.conns.Load() - before; n != 3 {
				t.Errorf("%d connections, want 3", n)
			}
		})
	}
}

func TestFewLieIdle(t *testing.T) {
	noLeak(t)
	b := serve(t, always(ok))
	tr := &backend.Transport{MaxIdle: 1}
	defer tr.Close()
	var held []*http.Response
	for range 3 {
		resp, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, resp)
	}
	for _, resp := range held {
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for range 2 { // in turn: one connection is enough
		if _, _, err := get(t, tr, b); err != nil {
			t.Fatal(err)
		}
	}
	tr.CloseIdleConnections()
	if _, _, err := get(t, tr, b); err != nil {
		t.Fatal(err)
	}
	if n := b.conns.Load(); n != 4 {
		t.Errorf("%d connections, want 3 and 1", n)
	}
}

func TestIdleConnectionsAreSwept(t *testing.T) {
	closed := make(chan struct{})
	b := serve(t, func(p *peer) { always(ok)(p); close(closed) })
	tr := &backend.Transport{IdleTimeout: 20 * time.Millisecond}
	defer tr.Close()
	if _, _, err := get(t, tr, b); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("an idle connection stays open")
	}
}

// The supervisor gave the exchange up and told its client that a repeat is safe.
func TestNothingIsSentAfterItWasGivenUp(t *testing.T) {
	noLeak(t)
	var seen atomic.Int64
	b := serve(t, func(p *peer) {
		n, _ := io.Copy(io.Discard, p)
		seen.Add(n)
	})
	rep := newReporter(t.Context())
	rep.fenced = true
	tr := newTransport(t)
	_, _, err := run(tr, newRequest(t, b, "POST", "/", strings.NewReader("pay")).WithContext(rep))
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok || e.Stage >= exchange.Sent {
		t.Errorf("got %v", err)
	}
	tr.Close()
	if n := seen.Load(); n > 0 {
		t.Errorf("the backend got %d bytes", n)
	}
}

func TestEarlyFinalAnswer(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		if p.nth == 1 {
			io.Copy(io.Discard, p) // until the client closes
		}
	})
	tr := newTransport(t)
	body, feed := io.Pipe()
	rep := newReporter(t.Context())
	req := newRequest(t, b, "POST", "/", body).WithContext(rep)
	resp, text, err := run(tr, req)
	if err != nil || resp.StatusCode != 413 || text != "no" {
		t.Fatal(resp, text, err)
	}
	// The owner of the body ends it; the next request gets another connection.
	feed.Close()
	if _, text, err := get(t, tr, b); err != nil || text != "no" {
		t.Fatal(text, err)
	}
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestFullDuplex(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		req, err := http.ReadRequest(p.r)
		if err != nil {
			return
		}
		p.say("HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(p, req.Body)
	})
	body, feed := io.Pipe()
	resp, err := newTransport(t).RoundTrip(newRequest(t, b, "POST", "/", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 10 {
		word := fmt.Sprintf("word %d", i)
		io.WriteString(feed, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("%q, %v", got, err)
		}
	}
	feed.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// A backend that answers and hangs up while the upload is on its way.
func TestAnswerBehindAFailedWrite(t *testing.T) {
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno")
	})
	resp, _, err := run(newTransport(t), newRequest(t, b, "PUT", "/", io.LimitReader(endless{}, 64<<20)))
	if err != nil || resp.StatusCode != 401 {
		t.Fatal(resp, err)
	}
}

// The answer is whole while the last bytes of the upload are on their way: the
// connection serves on, or is closed, but never both.
func TestAnswerBesideTheLastWrite(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		for {
			req, err := http.ReadRequest(p.r)
			if err != nil {
				return
			}
			io.ReadFull(req.Body, make([]byte, 10))
			p.say(ok) // before the rest is read
			io.Copy(io.Discard, req.Body)
		}
	})
	tr := newTransport(t)
	const size = 300_000
	for i := range 100 {
		req := newRequest(t, b, "PUT", "/", io.LimitReader(endless{}, size))
		req.ContentLength = size
		if _, body, err := run(tr, req); err != nil || body != "ok" {
			t.Fatal(i, body, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestExpectContinue(t *testing.T) {
	for _, tc := range []struct {
		name, first string
		sends       bool
	}{
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", true},
		{"103 and 100", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", true},
		{"silence", "", true},
		{"refusal", "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rest := make(chan string, 1)
			b := serve(t, func(p *peer) {
				p.head()
				p.say(tc.first)
				if tc.sends {
					body := make([]byte, 4)
					io.ReadFull(p.r, body)
					rest <- string(body)
					p.say(ok)
					return
				}
				body, _ := io.ReadAll(p.r)
				rest <- string(body)
			})
			tr := &backend.Transport{ExpectTimeout: 20 * time.Millisecond}
			defer tr.Close()
			req := newRequest(t, b, "POST", "/", strings.NewReader("body"))
			req.Header.Set("Expect", "100-continue")
			resp, _, err := run(tr, req)
			if err != nil {
				t.Fatal(err)
			}
			want := map[bool]string{true: "200 body", false: "417 "}[tc.sends]
			if got := fmt.Sprint(resp.StatusCode, " ", <-rest); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
