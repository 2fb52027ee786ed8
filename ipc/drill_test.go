package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// caller is a worker that calls a backend as workers should; its requests say
// which.
func caller() http.Handler {
	transport := &backend.Transport{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.Path, nil)
		if err != nil {
			panic(err)
		}
		resp, err := transport.RoundTrip(out)
		if err != nil {
			ipc.Fail(w, err)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	})
}

// drilling is a worker, and a backend that it calls.
type drilling struct {
	*ipc.Worker
	t    *testing.T
	host string
	seen chan struct{}
}

func newDrilling(t *testing.T) *drilling {
	d := &drilling{Worker: launch(t, "calls"), t: t, seen: make(chan struct{}, 100)}
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { d.seen <- struct{}{} }))
	t.Cleanup(srv.Close)
	d.host = srv.Listener.Addr().(*net.TCPAddr).String()
	return d
}

func (d *drilling) play(want ipc.Drill) {
	d.t.Helper()
	if err := d.Drill(d.t.Context(), want); err != nil {
		d.t.Fatal(err)
	}
}

// call returns the failure of a request, nil when the backend answered it.
func (d *drilling) call() *exchange.Error {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.host+"/", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
		<-d.seen
		return nil
	}
	if len(d.seen) > 0 {
		d.t.Error("the backend was called in a drill")
	}
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok {
		d.t.Fatal(err)
	}
	return e
}

func TestDrillOfTheBackend(t *testing.T) {
	d := newDrilling(t)
	if e := d.call(); e != nil {
		t.Fatal(e)
	}
	d.play(ipc.Drill{Mode: ipc.DrillBackendDown, For: time.Minute})
	if e := d.call(); e == nil || e.Fault != exchange.BackendRefused || e.Stage != exchange.Taken {
		t.Errorf("backend-down: %v", e)
	}
	d.play(ipc.Drill{Mode: ipc.DrillGarbage, For: time.Minute}) // in its place
	if e := d.call(); e == nil || e.Fault != exchange.BackendProtocol || e.Stage != exchange.Sent {
		t.Errorf("garbage: %v", e)
	}
	const delay = 100 * time.Millisecond
	d.play(ipc.Drill{Mode: ipc.DrillBackendSlow, For: time.Minute, Delay: delay})
	begun := time.Now()
	if e := d.call(); e != nil || time.Since(begun) < delay {
		t.Errorf("backend-slow: %v after %v", e, time.Since(begun))
	}
	d.play(ipc.Drill{})
	begun = time.Now()
	if e := d.call(); e != nil || time.Since(begun) >= delay {
		t.Errorf("after it: %v after %v", e, time.Since(begun))
	}
}

// Nobody has to be there to end it.
func TestDrillEndsByItself(t *testing.T) {
	d := newDrilling(t)
	d.play(ipc.Drill{Mode: ipc.DrillBackendDown, For: 200 * time.Millisecond})
	if e := d.call(); e == nil {
		t.Error("nothing was played")
	}
	eventually(t, 5*time.Second, "over", func() bool { return d.call() == nil })
}

func TestDrillIsRefused(t *testing.T) {
	refused := func(w *ipc.Worker, d ipc.Drill, says string) {
		t.Helper()
		if err := w.Drill(t.Context(), d); !errors.Is(err, ipc.ErrUndrillable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", d, err, says)
		}
	}
	down := ipc.Drill{Mode: ipc.DrillBackendDown, For: time.Minute}
	refused(launch(t, "plain"), down, "ReportsStage")

	w := launch(t, "reports") // which it does by itself
	for range 20 {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://backend/hello", nil)
		resp, err := w.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	refused(w, down, "had 20 requests and called no backend through ipc/backend")
	refused(w, ipc.Drill{Mode: "earthquake", For: time.Minute}, `does not know "earthquake"`)
	if err := w.Drill(t.Context(), ipc.Drill{Mode: ipc.DrillLeak, For: 2 * time.Hour}); err == nil || errors.Is(err, ipc.ErrUndrillable) {
		t.Errorf("two hours: %v", err)
	}
}

func TestDrillLeaks(t *testing.T) {
	const limit = 64 << 20
	w := launch(t, "plain")
	heap := func() uint64 {
		s, err := w.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.HeapBytes
	}
	leaks := func(d time.Duration) {
		t.Helper()
		before := heap()
		if err := w.Drill(t.Context(), ipc.Drill{Mode: ipc.DrillLeak, For: d, Bytes: limit}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "it has leaked", func() bool { return heap() >= before+limit*9/10 })
		if is := heap(); is > before+limit+(8<<20) {
			t.Errorf("%d MiB, want at most %d", is>>20, (before+limit)>>20)
		}
	}
	given := func() {
		t.Helper()
		eventually(t, 10*time.Second, "it is given back", func() bool { return heap() < limit/2 })
	}
	leaks(time.Minute)
	if err := w.Drill(t.Context(), ipc.Drill{}); err != nil {
		t.Fatal(err)
	}
	given()
	leaks(2 * time.Second) // ends by itself
	given()
	if fmt.Sprint(w.ExitError()) != "<nil>" {
		t.Error(w.ExitError())
	}
}
