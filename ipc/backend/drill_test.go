package backend_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// drilled is an exchange that may have a drill on.
type drilled struct {
	*reporter
	drill *exchange.Drill
}

func (d *drilled) Drill() *exchange.Drill { return d.drill }

func (d *drilled) Value(key any) any {
	if key == exchange.ReporterKey {
		return d
	}
	return d.reporter.Value(key)
}

func drill(t *testing.T, f exchange.Fault, delay time.Duration) *drilled {
	return &drilled{newReporter(t.Context()), &exchange.Drill{Fault: f, Delay: delay, Until: time.Now().Add(time.Minute)}}
}

// closing notes that a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestDrilledBackendSeesNothing(t *testing.T) {
	for _, test := range []struct {
		fault exchange.Fault
		stage exchange.Stage
		says  []string
	}{
		{exchange.BackendRefused, exchange.Taken, nil}, // never sent: a repeat is safe
		{exchange.BackendProtocol, exchange.Sent, []string{"sent"}},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			b := serve(t, always(ok))
			tr, d := newTransport(t), drill(t, test.fault, 0)
			body := &closing{Reader: strings.NewReader("hello")}
			_, _, err := run(tr, newRequest(t, b, "POST", "/", body).WithContext(d))
			wantFault(t, err, test.fault, test.stage)
			if n := b.conns.Load(); n != 0 {
				t.Errorf("the backend got %d connections", n)
			}
			if !body.closed {
				t.Error("the body is still open")
			}
			says := slices.DeleteFunc(d.log, func(s string) bool { return s == "detach" })
			if !slices.Equal(says, test.says) {
				t.Errorf("reported %q, want %q", says, test.says)
			}

			d.drill = nil // over
			if _, text, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(d)); err != nil || text != "ok" {
				t.Errorf("after the drill: %q, %v", text, err)
			}
		})
	}
}

func TestDrilledBackendIsSlow(t *testing.T) {
	const delay = 50 * time.Millisecond
	b := serve(t, always(ok))
	d := drill(t, "", delay)
	begun := time.Now()
	_, text, err := run(newTransport(t), newRequest(t, b, "GET", "/", nil).WithContext(d))
	if took := time.Since(begun); err != nil || text != "ok" || took < delay {
		t.Errorf("%q, %v after %v", text, err, took)
	}
}

// A request that is held up when the drill ends is served then.
func TestDelayEndsWithTheDrill(t *testing.T) {
	b := serve(t, always(ok))
	d := drill(t, "", time.Hour)
	d.drill.Until = time.Now().Add(20 * time.Millisecond)
	if _, text, err := run(newTransport(t), newRequest(t, b, "GET", "/", nil).WithContext(d)); err != nil || text != "ok" {
		t.Errorf("%q, %v", text, err)
	}
}

// The slow backend has the request: time that runs out is the backend's.
func TestCancelledInADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := drill(t, "", time.Hour)
		b := &rawBackend{addr: "192.0.2.1:80"} // nobody may dial it
		failed := make(chan error, 1)
		go func() {
			_, err := (&backend.Transport{}).RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(d))
			failed <- err
		}()
		time.Sleep(time.Second)
		d.cancel()
		wantFault(t, <-failed, exchange.ClientGone, exchange.Sent)
	})
}

func TestDrillOfAnExchangeThatWasGivenUp(t *testing.T) {
	b := serve(t, always(ok))
	d := drill(t, exchange.BackendProtocol, 0)
	d.fenced, d.gone = true, true
	_, _, err := run(newTransport(t), newRequest(t, b, "GET", "/", nil).WithContext(d))
	if e, told := errors.AsType[*exchange.Error](err); !told || e.Stage != exchange.Taken {
		t.Errorf("got %v", err)
	}
}

func TestDrilledOverHTTP2(t *testing.T) {
	for fault, stage := range map[exchange.Fault]exchange.Stage{
		exchange.BackendRefused: exchange.Taken, exchange.BackendProtocol: exchange.Sent,
	} {
		b := frames(t, nil, (*framed).serveAll)
		tr, d := newHTTP2(t), drill(t, fault, 0)
		body := &closing{Reader: strings.NewReader("hello")}
		_, _, err := run(tr, newRequest(t, b, "POST", "/", body).WithContext(d))
		wantFault(t, err, fault, stage)
		if n := b.conns.Load(); n != 0 || !body.closed {
			t.Errorf("%s: %d connections, body closed: %v", fault, n, body.closed)
		}
		d.drill = nil
		if _, text, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(d)); err != nil || text != "ok" {
			t.Errorf("%s: after the drill: %q, %v", fault, text, err)
		}
	}
}
