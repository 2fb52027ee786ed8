package backend_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestClose(t *testing.T) {
	for name, tc := range map[string]struct {
		tr *backend.Transport
		b  *rawBackend
	}{
		"http1": {&backend.Transport{}, serve(t, func(p *peer) { p.head(); p.head() })},
		"http2": {&backend.Transport{Protocol: backend.HTTP2}, frames(t, nil, func(f *framed) { f.request(); f.next() })},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			rep := newReporter(t.Context())
			failed := make(chan error)
			go func() {
				_, err := tc.tr.RoundTrip(newRequest(t, tc.b, "GET", "/", nil).WithContext(rep))
				failed <- err
			}()
			eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
			if err := tc.tr.Close(); err != nil {
				t.Fatal(err)
			}
			wantFault(t, <-failed, exchange.BackendReset, exchange.Sent)
			_, _, err := get(t, tc.tr, tc.b)
			wantFault(t, err, exchange.BackendUnreachable, exchange.Taken)
		})
	}
}

func TestCloseEndsABodyUnread(t *testing.T) {
	noLeak(t)
	ended := make(chan struct{}, 1)
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
		p.head()
		ended <- struct{}{}
	})
	resp, err := newTransport(t).RoundTrip(newRequest(t, b, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-ended
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after Close: %v", err)
	}
}

func TestHTTP2CloseEndsABodyUnread(t *testing.T) {
	noLeak(t)
	resets := make(chan *http2.RSTStreamFrame, 1)
	b := frames(t, nil, func(f *framed) {
		id := f.request()
		f.fields(id, false, ":status", "200")
		f.WriteData(id, false, []byte("begun"))
		resets <- f.reset()
	})
	resp, err := newHTTP2(t).RoundTrip(newRequest(t, b, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if r := <-resets; r == nil || r.ErrCode != http2.ErrCodeCancel {
		t.Errorf("got %v", r)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after Close: %v", err)
	}
}

// The body fails when the answer has begun: what follows is not to be trusted.
func TestBodyFailsBehindTheHead(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\n\r\nbegun")
		io.Copy(io.Discard, p.r)
	})
	body, feed := io.Pipe()
	resp, err := newTransport(t).RoundTrip(newRequest(t, b, "POST", "/", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	gone := errors.New("the caller's wire broke")
	feed.CloseWithError(gone)
	_, err = io.ReadAll(resp.Body)
	wantFault(t, err, exchange.ClientGone, exchange.Answered)
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}

func TestHTTP2BodyFails(t *testing.T) {
	noLeak(t)
	gone := errors.New("the caller's wire broke")
	resets := make(chan *http2.RSTStreamFrame, 1)
	b := frames(t, nil, func(f *framed) {
		f.request()
		resets <- f.reset()
		f.serveAll()
	})
	tr := newHTTP2(t)
	body, feed := io.Pipe()
	go func() {
		io.WriteString(feed, "begun")
		feed.CloseWithError(gone)
	}()
	_, _, err := run(tr, newRequest(t, b, "POST", "/", body))
	wantFault(t, err, exchange.ClientGone, exchange.Sent)
	if !errors.Is(err, gone) {
		t.Error(err)
	}
	if r := <-resets; r == nil {
		t.Error("the backend took half a body for a whole one")
	}
}
