package ipc_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// A handler that fails its exchange and is busy for a while: its connection is
// nobody else's meanwhile.
func TestNoRequestWaitsBehindAFailure(t *testing.T) {
	failed, cleaned := make(chan struct{}), make(chan struct{})
	w, _ := plane(t, 4, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			ipc.Fail(w, &exchange.Error{Fault: exchange.BackendRefused, Err: errors.New("no")})
			close(failed)
			<-cleaned
		}
	})
	clean := sync.OnceFunc(func() { close(cleaned) })
	t.Cleanup(clean) // before the plane's
	first := make(chan error, 1)
	go func() { _, err := w.RoundTrip(request(t, "GET", "/fail", nil)); first <- err }()
	<-failed
	select { // told at once, it leaves a connection behind it
	case err := <-first:
		first <- err
	case <-time.After(50 * time.Millisecond):
	}
	within(t, 2*time.Second, "the next request", func() {
		if err := readAll(w.RoundTrip(request(t, "GET", "/", nil))); err != nil {
			t.Error(err)
		}
	})
	clean()
	if err := <-first; exchange.FaultOf(err) != exchange.BackendRefused {
		t.Errorf("got %v", err)
	}
}

// A body that is asked for behind a failure belongs to the exchange that failed.
func TestBodyReadAfterAFailure(t *testing.T) {
	told := make(chan struct{}, 1)
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			ipc.Fail(w, &exchange.Error{Fault: exchange.BackendRefused, Err: errors.New("no")})
			select {
			case <-told:
			case <-time.After(50 * time.Millisecond):
			}
			io.Copy(io.Discard, r.Body)
		}
	})
	for range 5 {
		r := request(t, "POST", "/", strings.NewReader("body"))
		r.Header.Set("Expect", "100-continue")
		if _, err := w.RoundTrip(r); exchange.FaultOf(err) != exchange.BackendRefused {
			t.Errorf("got %v", err)
		}
		told <- struct{}{}
		if err := readAll(w.RoundTrip(request(t, "GET", "/", nil))); err != nil {
			t.Errorf("the next request: %v", err)
		}
		select {
		case <-told:
		default:
		}
	}
}

// A second backend's informational answer has no place behind the head of the
// answer, nor behind its end.
func TestInformsBehindTheHead(t *testing.T) {
	informers := make(chan backend.Informer, 1)
	hint := func(i backend.Informer) error {
		return i.Inform(http.StatusEarlyHints, http.Header{"Link": {"</a.css>"}})
	}
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		i := exchange.From(r.Context()).(backend.Informer)
		switch r.URL.Path {
		case "/late":
			w.(http.Flusher).Flush()
		case "/failed":
			ipc.Fail(w, &exchange.Error{Fault: exchange.BackendRefused, Err: errors.New("no")})
		case "/large":
			if err := i.Inform(http.StatusEarlyHints, http.Header{"X": {strings.Repeat("x", 17<<20)}}); err != nil {
				t.Error(err)
			}
		}
		if err := hint(i); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "body")
		informers <- i
	})
	for target, fault := range map[string]exchange.Fault{
		"/": "", "/late": "", "/failed": exchange.BackendRefused, "/large": "",
	} {
		hints := 0
		call := &ipc.Call{Request: request(t, "GET", target, nil), Inform: func(int, http.Header) { hints++ }}
		if err := readAll(w.Do(call)); exchange.FaultOf(err) != fault {
			t.Errorf("%s: %v", target, err)
		}
		if late := target == "/late" || target == "/failed"; late != (hints == 0) {
			t.Errorf("%s: %d hints", target, hints)
		}
		if err := hint(<-informers); err != nil {
			t.Error(err)
		}
	}
}

// What came over TLS is told as net/http tells it.
func TestTLSIsTold(t *testing.T) {
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if (r.TLS != nil) != (r.URL.Path == "/secure") || r.TLS != nil && !r.TLS.HandshakeComplete {
			t.Errorf("%s: %+v", r.URL.Path, r.TLS)
		}
	})
	ask(t, w, request(t, "GET", "/", nil))
	r := request(t, "GET", "/secure", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	ask(t, w, r)
}
