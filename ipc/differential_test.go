package ipc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"commerce.example/coordinator/ipc"
)

// relay is the plainest front: it hands on what came through ipc.
func relay(w *ipc.Worker) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		call := &ipc.Call{Request: r, Inform: func(status int, h http.Header) {
			maps.Copy(rw.Header(), h)
			rw.WriteHeader(status)
			clear(rw.Header())
		}}
		resp, err := w.Do(call)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		maps.Copy(rw.Header(), resp.Header)
		if n := resp.ContentLength; n >= 0 && resp.Header["Content-Length"] == nil && r.Method != "HEAD" && n > 0 {
			rw.Header().Set("Content-Length", fmt.Sprint(n))
		}
		for name := range resp.Trailer {
			rw.Header().Add("Trailer", name)
		}
		rw.WriteHeader(resp.StatusCode)
		buf := make([]byte, 32<<10)
		for {
			n, err := resp.Body.Read(buf)
			rw.Write(buf[:n])
			if err == io.EOF {
				break
			}
			rw.(http.Flusher).Flush()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		if len(resp.Trailer) > 0 {
			rw.(http.Flusher).Flush() // net/http sends those not announced in chunks only
		}
		for name, v := range resp.Trailer {
			rw.Header()[http.TrailerPrefix+name] = v
		}
	}
}

var transport = &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 400 * time.Millisecond}

// seen is all that a client sees of an answer.
func seen(t *testing.T, url, method, target string, body io.Reader) string {
	t.Helper()
	r, err := http.NewRequest(method, url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Expect", "100-continue")
		r.Trailer = http.Header{"Sum": {"7"}}
		r.ContentLength = -1
	}
	var b bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if status != http.StatusContinue {
				fmt.Fprintln(&b, status, h)
			}
			return nil
		},
	}))
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "no whole answer" // ours may say so before it has begun
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return "no whole answer"
	}
	// What came whole may get a length where net/http has chunks. HEAD may do
	// without the fields that follow from the body, RFC 9110 section 9.3.2.
	if method == "HEAD" {
		resp.Header.Del("Content-Type")
		resp.Header.Del("Content-Length")
	} else if resp.ContentLength == int64(len(got)) {
		resp.Header.Del("Content-Length")
	}
	resp.Header.Del("Date")
	resp.Header.Del("Trailer")
	resp.Header.Del("Connection") // that of the two to their client
	fmt.Fprintln(&b, resp.Status)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		fmt.Fprintf(&b, "%s: %q\n", name, resp.Header[name])
	}
	fmt.Fprintf(&b, "%d %.100q\n", len(got), got)
	for _, name := range slices.Sorted(maps.Keys(resp.Trailer)) {
		if v := resp.Trailer[name]; v != nil {
			fmt.Fprintf(&b, "trailer %s: %q\n", name, v)
		}
	}
	return b.String()
}

type handlers map[string]func(http.ResponseWriter, *http.Request)

// outcome writes what a handler was told into a trailer, so that errors are
// compared too.
func outcome(w http.ResponseWriter, errs ...error) {
	for _, err := range errs {
		w.Header().Add(http.TrailerPrefix+"Told", fmt.Sprint(err))
	}
}

var differential = handlers{
	"nothing": func(w http.ResponseWriter, r *http.Request) {},
	"text":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "text") },
	"sniffed": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html><p>x") },
	"no type": func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>")
	},
	"fields": func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2", ""}
		io.WriteString(w, "x")
	},
	"empty": func(w http.ResponseWriter, r *http.Request) { w.Write(nil); w.Write([]byte{}) },
	"error": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there?a=1", http.StatusTemporaryRedirect)
	},
	"not found": http.NotFound,
	"204":       func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
	"204 body":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204); io.WriteString(w, "x") },
	"304": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"a"`)
		w.WriteHeader(304)
		io.WriteString(w, "x")
	},
	"304 length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(304)
	},
	"205":      func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(205) },
	"599":      func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(599); io.WriteString(w, "odd") },
	"status 0": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(0) },
	"twice": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(201)
		w.WriteHeader(500)
		io.WriteString(w, "x")
	},
	"late field": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.Header().Set("Late", "1")
		io.WriteString(w, "x")
	},
	"field after write": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.Header().Set("Late", "1")
	},
	"length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		io.WriteString(w, "four")
	},
	"length 0": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "0") },
	"senseless length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "four")
		io.WriteString(w, "x")
	},
	"minus length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "-4")
		io.WriteString(w, "x")
	},
	"too short": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "9")
		io.WriteString(w, "four")
	},
	"too long": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		io.WriteString(w, "four")
		_, err := io.WriteString(w, "five")
		if !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	},
	"too long at once": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		io.WriteString(w, "more than four")
	},
	"flushed": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		io.WriteString(w, "b")
	},
	"flush only": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() },
	"flush 204":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204); w.(http.Flusher).Flush() },
	"chunked": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		w.Header().Set("Content-Type", "a/b")
		io.WriteString(w, "x")
	},
	"large": func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) },
	"medium": func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("x"), 9000))
		w.Write(bytes.Repeat([]byte("y"), 8000))
	},
	"copied": func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, iotest.HalfReader(strings.NewReader(strings.Repeat("z", 70_000))))
	},
	"copy fails": func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(w, io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errors.New("broke"))))
		outcome(w, err)
		w.(http.Flusher).Flush()
	},
	"trailers": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "A, b")
		w.Header().Add("Trailer", "C")
		io.WriteString(w, "x")
		w.Header().Set("A", "1")
		w.Header().Set("B", "2")
		w.Header().Set(http.TrailerPrefix+"d", "4")
	},
	"trailer of nothing": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "A")
		w.WriteHeader(200)
		w.Header().Set("A", "1")
	},
	"late prefix": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"Late", "4")
	},
	"hints": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<a>")
		w.WriteHeader(103)
		w.WriteHeader(102)
		w.Header().Set("Link", "<b>")
		w.WriteHeader(200)
		w.WriteHeader(103)
		io.WriteString(w, "x")
	},
	"abort": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"abort late": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"hijacked": func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, err = w.Write([]byte("x"))
		_, _, again := w.(http.Hijacker).Hijack()
		w.WriteHeader(500)
		body := fmt.Sprint(err, again != nil)
		fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		rw.Flush()
	},
	"head only": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		w.WriteHeader(200)
		if r.Method != "HEAD" {
			io.WriteString(w, "content")
		}
	},
	"controller": func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		w.Header().Set("Content-Type", "a/b")
		outcome(w, c.EnableFullDuplex(), c.Flush())
		io.WriteString(w, "x")
	},
	"invalid field": func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Bad Name"] = []string{"x"}
		w.Header().Set("Split", "a\r\nInjected: b")
		io.WriteString(w, "x")
	},
	"echo": func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		_, again := r.Body.Read(make([]byte, 1))
		w.Write(b)
		outcome(w, err, again)
		fmt.Fprint(w, r.Method, r.RequestURI, r.ContentLength, r.TransferEncoding, r.Trailer, r.Proto, r.URL)
	},
	"close body": func(w http.ResponseWriter, r *http.Request) {
		err := r.Body.Close()
		_, read := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err)
		if r.Method == "POST" {
			fmt.Fprint(w, read)
		}
	},
	"read nothing": func(w http.ResponseWriter, r *http.Request) { n, err := r.Body.Read(nil); fmt.Fprint(w, n, err) },
	"line by line": func(w http.ResponseWriter, r *http.Request) {
		for s := bufio.NewScanner(r.Body); s.Scan(); {
			fmt.Fprintln(w, s.Text())
			w.(http.Flusher).Flush()
		}
	},
}

// A handler in a worker, behind the plainest front, answers as it does on a
// server of net/http, byte for byte, for GET, HEAD and POST.
func TestHandlersAnswerAsUnderNetHTTP(t *testing.T) {
	mux := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { differential[r.FormValue("h")](w, r) })
	w, _ := plane(t, 8, mux)
	quiet := func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Start()
		t.Cleanup(s.Close)
		return s
	}
	direct, through := quiet(mux), quiet(relay(w))
	for _, name := range slices.Sorted(maps.Keys(differential)) {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			switch {
			case method == "POST" && name == "hijacked":
				continue // refused by ours: the raw connection is full of frames
			case method == "POST" && (name == "abort late" || strings.HasPrefix(name, "too ")),
				method == "HEAD" && strings.HasSuffix(name, "s length"):
				continue // net/http leaves its client waiting, ours does not
			}
			t.Run(method+" "+name, func(t *testing.T) {
				body := func() io.Reader {
					if method != "POST" {
						return nil
					}
					return io.MultiReader(strings.NewReader("the\nrequest's\nbody\n"))
				}
				target := "/?h=" + strings.ReplaceAll(name, " ", "+")
				want, got := seen(t, direct.URL, method, target, body()), seen(t, through.URL, method, target, body())
				if got != want {
					t.Errorf("through ipc:\n%s\nnet/http:\n%s", got, want)
				}
			})
		}
	}
}
