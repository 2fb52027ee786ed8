package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
)

func request(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://shop.example"+target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:4711"
	return r
}

// ask does a round trip and reads the whole answer.
func ask(t testing.TB, w *ipc.Worker, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := w.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", r.Method, r.URL, err)
	}
	return resp, string(b)
}

func TestAnswers(t *testing.T) {
	w := launch(t, "reports")
	if w.Version() != "test-1" {
		t.Errorf("version %q", w.Version())
	}
	resp, body := ask(t, w, request(t, "GET", "/hello", nil))
	if resp.StatusCode != 200 || body != "hello, shop.example" || resp.ContentLength != int64(len(body)) {
		t.Errorf("hello: %v %q", resp, body)
	}
	resp, body = ask(t, w, request(t, "HEAD", "/hello", nil))
	if resp.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %v %q", resp, body)
	}
	for _, code := range []int{204, 304, 404, 503, 999} {
		resp, body = ask(t, w, request(t, "GET", fmt.Sprintf("/status?code=%d", code), nil))
		if ct, there := resp.Header["Content-Type"]; resp.StatusCode != code || body != "" || !there || ct != nil {
			t.Errorf("status %d: got %d %q, content type %v %v", code, resp.StatusCode, body, ct, there)
		}
	}
}

func TestRequestsArriveUnchanged(t *testing.T) {
	w := launch(t, "reports")
	for name, body := range map[string]io.Reader{
		"length":    strings.NewReader("twelve bytes"),
		"chunked":   io.MultiReader(strings.NewReader("twelve "), strings.NewReader("bytes")),
		"bytewise":  iotest.OneByteReader(strings.NewReader("twelve bytes")),
		"eof along": iotest.DataErrReader(strings.NewReader("twelve bytes")),
	} {
		r := request(t, "POST", "/echo?a=%zz;b=1", body)
		r.RequestURI = "/echo?a=%zz;b=1" // byte for byte, unescapable query included
		r.Header.Set("X-Tenant", "blue")
		r.Trailer = http.Header{"Digest": {"abc"}}
		resp, got := ask(t, w, r)
		if got != "twelve bytes" {
			t.Errorf("%s: body %q", name, got)
		}
		want := []string{"POST", "/echo?a=%zz;b=1", "blue", "192.0.2.1:4711", "HTTP/1.1"}
		if seen := resp.Header["X-Seen"]; !slices.Equal(seen, want) {
			t.Errorf("%s: handler saw %q, want %q", name, seen, want)
		}
		if resp.Trailer.Get("Echo-Digest") != "abc" {
			t.Errorf("%s: trailers %v", name, resp.Trailer)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	w := launch(t, "reports")
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16+3)
	for _, body := range []io.Reader{bytes.NewReader(sent), io.MultiReader(bytes.NewReader(sent))} {
		resp, err := w.RoundTrip(request(t, "POST", "/echo", body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("echo of %d bytes: %d bytes, %v", len(sent), len(got), err)
		}
	}
	if _, got := ask(t, w, request(t, "GET", "/large?n=5000001", nil)); len(got) != 5_000_001 {
		t.Fatalf("large: %d bytes", len(got))
	}
}

func TestStreamsBothWaysAtOnce(t *testing.T) {
	w := launch(t, "reports")
	pr, pw := io.Pipe()
	resp, err := func() (*http.Response, error) {
		go pw.Write([]byte("a"))
		return w.RoundTrip(request(t, "POST", "/drip", pr))
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	one := make([]byte, 1)
	for _, c := range "abcdef" {
		if c != 'a' {
			pw.Write([]byte(string(c)))
		}
		if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != byte(c) {
			t.Fatalf("got %q, %v, want %q", one, err, c)
		}
	}
	pw.Close()
	if _, err := resp.Body.Read(one); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

func TestTrailersAndInformational(t *testing.T) {
	w := launch(t, "reports")
	resp, _ := ask(t, w, request(t, "GET", "/trailers", nil))
	if resp.Trailer.Get("Digest") != "abc" || resp.Trailer.Get("Late") != "x" {
		t.Errorf("trailers %v", resp.Trailer)
	}
	var hint string
	r := request(t, "GET", "/hints", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hint = fmt.Sprint(code, h.Get("Link"))
			return nil
		},
	}))
	resp, _ = ask(t, w, r)
	if resp.StatusCode != 202 || hint != "103</a.css>; rel=preload" {
		t.Errorf("status %d after %q", resp.StatusCode, hint)
	}
}

// The client's body is asked for only when the handler wants it.
func TestExpectContinue(t *testing.T) {
	w := launch(t, "reports")
	for target, want := range map[string]bool{"/echo": true, "/early": false} {
		r := request(t, "POST", target, strings.NewReader("body"))
		r.Header.Set("Expect", "100-continue")
		call := &ipc.Call{Request: r}
		resp, err := w.Do(call)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if call.BodyRead() != want {
			t.Errorf("%s: body read: %v", target, call.BodyRead())
		}
	}
	ask(t, w, request(t, "GET", "/hello", nil)) // the connections are still in step
}

func TestFinalAnswerDuringUpload(t *testing.T) {
	w := launch(t, "reports")
	pr, pw := io.Pipe() // never ends by itself
	call := &ipc.Call{Request: request(t, "POST", "/early", pr), StopBody: func() { pr.CloseWithError(errors.New("stopped")) }}
	resp, err := w.Do(call)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 403 || string(b) != "no" || err != nil {
		t.Fatalf("%d %q %v", resp.StatusCode, b, err)
	}
	if !resp.Body.(*ipc.Body).Complete() || !resp.Body.(*ipc.Body).Uploading() {
		t.Error("the answer is over and the upload is not, and nobody says so")
	}
	resp.Body.Close()
	if _, err := pw.Write([]byte("x")); err == nil {
		t.Error("somebody still reads the body after Close")
	}
	ask(t, w, request(t, "GET", "/hello", nil))
}

// A HEAD whose handler flushes, and then fails or dawdles: its exchange is not
// over with the head, and nothing of it reaches the connection's next one.
func TestFlushedHeadKeepsItsConnection(t *testing.T) {
	w := launch(t, "reports")
	for range 50 {
		for _, target := range []string{"/cut", "/trailers"} {
			resp, err := w.RoundTrip(request(t, "HEAD", target, nil))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if (target == "/cut") != (err != nil) {
				t.Errorf("%s: %v", target, err)
			}
		}
		ask(t, w, request(t, "GET", "/hello", nil))
	}
}

func TestUpgrade(t *testing.T) {
	w := launch(t, "reports")
	r := request(t, "GET", "/upgrade", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	resp, err := w.RoundTrip(r)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("%v %v", resp, err)
	}
	raw := resp.Body.(io.ReadWriteCloser)
	fmt.Fprint(raw, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(raw, got); err != nil || string(got) != "ping" {
		t.Fatalf("%q %v", got, err)
	}
	raw.(interface{ CloseWrite() error }).CloseWrite()
	if rest, err := io.ReadAll(raw); len(rest) > 0 || err != nil {
		t.Fatalf("after half close: %q %v", rest, err)
	}
	raw.Close()

	resp, body := ask(t, w, request(t, "GET", "/upgrade?refuse=1", nil))
	if resp.StatusCode != 403 || body != "no" {
		t.Errorf("refused upgrade: %d %q", resp.StatusCode, body)
	}
}

// What a failure tells: the worker's words, and the stage that the board proves.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		role, target string
		fault        exchange.Fault
		stage        exchange.Stage
	}{
		{"reports", "/fail?fault=backend_refused", exchange.BackendRefused, exchange.Taken},
		{"reports", "/fail?fault=backend_reset&sent=1", exchange.BackendReset, exchange.Sent},
		{"plain", "/fail?fault=backend_refused", exchange.BackendRefused, exchange.Sent},
		{"reports", "/panic", exchange.WorkerProtocol, exchange.Taken},
		{"reports", "/short", exchange.WorkerProtocol, exchange.Taken},
		{"reports", "/exit", exchange.WorkerDied, exchange.Taken},
		{"reports", "/exit?sent=1", exchange.WorkerDied, exchange.Sent},
		{"reports", "/exit?sent=1&answered=1", exchange.WorkerDied, exchange.Answered},
		{"plain", "/exit", exchange.WorkerDied, exchange.Sent},
	} {
		w := launch(t, c.role)
		_, err := w.RoundTrip(request(t, "POST", c.target, strings.NewReader("body")))
		e, ok := errors.AsType[*exchange.Error](err)
		if !ok || e.Fault != c.fault || e.Stage != c.stage {
			t.Errorf("%s %s: got %v, want %s at %s", c.role, c.target, err, c.fault, c.stage)
		}
	}
}

func TestAnswerCutShortIsNoCleanEnd(t *testing.T) {
	for target, fault := range map[string]exchange.Fault{
		"/cut":          exchange.BackendReset,
		"/exit?begin=1": exchange.WorkerDied,
	} {
		w := launch(t, "reports")
		resp, err := w.RoundTrip(request(t, "GET", target, nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "begun" || exchange.FaultOf(err) != fault {
			t.Errorf("%s: %q, %v", target, b, err)
		}
	}
}

// Cancel is the only way to end an exchange from outside, and what it says of
// the stage holds for ever after.
func TestCancel(t *testing.T) {
	ended := make(chan string, 10)
	w := launch(t, "reports", func(s *ipc.Spec) {
		s.Line = func(l process.Line) {
			if strings.HasPrefix(l.Text, "hang ended") {
				ended <- l.Text
			}
		}
	})
	for target, stage := range map[string]exchange.Stage{
		"/hang?id=a":        exchange.Taken,
		"/hang?id=b&sent=1": exchange.Sent,
	} {
		call := &ipc.Call{Request: request(t, "GET", target, nil)}
		failed := make(chan error, 1)
		go func() {
			_, err := w.Do(call)
			failed <- err
		}()
		waitInFlight(t, w, 1)
		begun := time.Now()
		call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
		e, _ := errors.AsType[*exchange.Error](<-failed)
		if e == nil || e.Fault != exchange.ClientGone || e.Stage != stage {
			t.Errorf("%s: %v", target, e)
		}
		select {
		case <-ended:
			if d := time.Since(begun); d > time.Second {
				t.Errorf("the handler went on for %v", d)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the handler was not cancelled")
		}
	}
	call := &ipc.Call{Request: request(t, "GET", "/hello", nil)}
	call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
	if _, err := w.Do(call); exchange.FaultOf(err) != exchange.ClientGone {
		t.Errorf("cancelled before it began: %v", err)
	}
}

// waitInFlight waits until n handlers run in the worker.
func waitInFlight(t testing.TB, w *ipc.Worker, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		s, err := w.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.InFlight == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d in flight, want %d", s.InFlight, n)
		}
	}
}

func TestContextCancelsRoundTrip(t *testing.T) {
	w := launch(t, "reports")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.RoundTrip(request(t, "GET", "/hang", nil).WithContext(ctx))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestClientBodyThatBreaksIsNotTheWholeBody(t *testing.T) {
	w := launch(t, "reports")
	broken := errors.New("client went away")
	body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
	resp, err := w.RoundTrip(request(t, "POST", "/echo", body))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if exchange.FaultOf(err) != exchange.ClientGone || !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

// Many clients, all kinds of exchange and cancellations at random: everybody
// gets his own answer or his own error.
func TestHammer(t *testing.T) {
	w := launch(t, "reports")
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 60 {
				text := strings.Repeat(fmt.Sprint(g, ".", i, " "), 1+i*i*20)
				call := &ipc.Call{Request: request(t, "POST", "/echo", strings.NewReader(text))}
				if i%7 == 3 {
					go call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
				}
				resp, err := w.Do(call)
				var got []byte
				if err == nil {
					got, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if err == nil && string(got) != text {
					t.Errorf("%d.%d: %d bytes, want %d", g, i, len(got), len(text))
				}
				if err != nil && (i%7 != 3 || exchange.FaultOf(err) != exchange.ClientGone) {
					t.Errorf("%d.%d: %v", g, i, err)
				}
			}
		})
	}
	wg.Wait()
	waitInFlight(t, w, 0)
}

func BenchmarkRoundTrip(b *testing.B) {
	w := launch(b, "reports")
	r := request(b, "GET", "/hello", nil)
	r.RequestURI = "/hello"
	b.ReportAllocs()
	for b.Loop() {
		resp, err := w.Do(&ipc.Call{Request: r})
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
