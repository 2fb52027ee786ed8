package backend_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestDeadlineAndCancel(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) { p.head(); p.head() })
	tr := newTransport(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(ctx))
	wantFault(t, err, exchange.BackendTimeout, exchange.Sent)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	cause := errors.New("drained")
	ctx2, cancel := context.WithCancelCause(t.Context())
	go cancel(cause)
	_, err = tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(ctx2))
	if !errors.Is(err, cause) || exchange.FaultOf(err) != exchange.ClientGone {
		t.Error(err)
	}

	rep := newReporter(t.Context())
	rep.cancel()
	_, err = tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(rep))
	wantFault(t, err, exchange.ClientGone, exchange.Taken)
}

func TestHTTP2Deadline(t *testing.T) {
	b := frames(t, nil, func(f *framed) { f.request(); f.reset() })
	tr := newHTTP2(t)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	_, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(ctx))
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok || e.Fault != exchange.BackendTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCancelResetsTheStream(t *testing.T) {
	noLeak(t)
	resets := make(chan http2.ErrCode, 1)
	b := frames(t, nil, func(f *framed) {
		f.request()
		if r := f.reset(); r != nil {
			resets <- r.ErrCode
		}
		f.serveAll()
	})
	tr := newHTTP2(t)
	rep := newReporter(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(rep))
		failed <- err
	}()
	eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
	begun := time.Now()
	rep.cancel()
	if code := <-resets; code != http2.ErrCodeCancel {
		t.Errorf("reset with %v", code)
	}
	if took := time.Since(begun); took > 100*time.Millisecond {
		t.Errorf("after %v", took)
	}
	wantFault(t, <-failed, exchange.ClientGone, exchange.Sent)
	if _, body, err := get(t, tr, b); err != nil || body != "ok" || b.conns.Load() != 1 {
		t.Errorf("%q, %v, %d connections", body, err, b.conns.Load())
	}
}

// cancelAtRandom runs exchanges that are cancelled at random moments, against a
// backend whose answers name their request: none may be given another one's.
func cancelAtRandom(t *testing.T, tr *backend.Transport, b *rawBackend) {
	var wg sync.WaitGroup
	var whole, cut atomic.Int64
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range 150 {
				path := fmt.Sprintf("/%d/%d", worker, i)
				var body io.Reader
				if i%3 == 0 {
					body = io.MultiReader(strings.NewReader("some body"))
				}
				req, _ := http.NewRequest("POST", "http://"+b.addr+path, body)
				var cancelling sync.WaitGroup
				if i%2 == 0 {
					rep := newReporter(context.Background())
					req = req.WithContext(rep)
					wait := time.Duration(rng.IntN(300)) * time.Microsecond
					cancelling.Go(func() { <-time.After(wait); rep.cancel() })
				}
				_, got, err := run(tr, req)
				cancelling.Wait()
				switch {
				case err == nil && got == path:
					whole.Add(1)
				case err != nil && i%2 == 0 && errors.Is(err, context.Canceled):
					cut.Add(1)
				default:
					t.Errorf("%s: got %q, %v", path, got, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d whole, %d cancelled, %d connections", whole.Load(), cut.Load(), b.conns.Load())
	if whole.Load() == 0 || cut.Load() == 0 {
		t.Error("the hammer missed one of its cases")
	}
}

// A connection that was cancelled serves nobody else.
func TestCancelNeverTaintsReuse(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		for {
			req, _, err := p.request()
			if err != nil {
				return
			}
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path))
		}
	})
	cancelAtRandom(t, newTransport(t), b)
}

func TestCancelTouchesNoOtherStream(t *testing.T) {
	noLeak(t)
	b := h2c(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, r.URL.Path)
	})
	cancelAtRandom(t, newHTTP2(t), b)
}
