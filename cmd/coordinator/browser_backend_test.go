//go:build linux

package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// storefront is a backend that decides itself which origins may read it, in
// values that nobody else would choose.
type storefront struct {
	origins []string
	next    chan struct{} // lets the next event out
	begun   chan struct{} // a request hangs
	left    chan struct{} // that request was cancelled

	srv *httptest.Server
	mu  sync.Mutex
	saw []visit
}

// visit is a request that the backend got.
type visit struct {
	method, path, cookie, token string
}

// openStorefront starts one that origins may read.
func openStorefront(t *testing.T, origins ...string) *storefront {
	t.Helper()
	b := &storefront{origins: origins, next: make(chan struct{}), begun: make(chan struct{}, 1), left: make(chan struct{}, 1)}
	b.srv = httptest.NewServer(b)
	t.Cleanup(func() { b.srv.Close() })
	return b
}

// reopen starts it again, where it was before it was closed.
func (b *storefront) reopen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", b.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b.srv = &httptest.Server{Listener: l, Config: &http.Server{Handler: b}}
	b.srv.Start()
}

// visits are the requests with a query so far.
func (b *storefront) visits(query string) (of []visit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.saw {
		if strings.HasSuffix(v.path, "?"+query) {
			of = append(of, v)
		}
	}
	return of
}

// permission and answered are its own CORS, of a preflight and of other answers.
func permission(origin string) http.Header {
	return http.Header{
		"Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Credentials": {"true"},
		"Access-Control-Allow-Methods": {"PUT, PROPFIND"}, "Access-Control-Allow-Headers": {"x-csrftoken, content-type, x-legacy"},
		"Access-Control-Max-Age": {"271"}, "Vary": {"Origin, X-Legacy"}, "X-Answered-By": {"legacy"},
	}
}

func answered(origin string) http.Header {
	return http.Header{
		"Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Credentials": {"true"},
		"Access-Control-Expose-Headers": {"X-Stock"}, "Timing-Allow-Origin": {origin}, "Vary": {"Origin, X-Legacy"},
		"X-Stock": {"7"}, "X-Shelf": {"12"}, "Content-Type": {"text/plain; charset=utf-8"},
	}
}

func (b *storefront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.saw = append(b.saw, visit{r.Method, r.URL.RequestURI(), r.Header.Get("Cookie"), r.Header.Get("X-Csrftoken")})
	b.mu.Unlock()
	origin := r.Header.Get("Origin")
	if !slices.Contains(b.origins, origin) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.Method == http.MethodOptions {
		for name, values := range permission(origin) {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.URL.Path == "/ws" {
		b.converse(w, r)
		return
	}
	for name, values := range answered(origin) {
		w.Header()[name] = values
	}
	control := http.NewResponseController(w)
	switch r.URL.Path {
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = control.Flush()
			select {
			case <-b.next:
			case <-r.Context().Done():
				return
			}
		}
	case "/hang":
		b.begun <- struct{}{}
		<-r.Context().Done()
		b.left <- struct{}{}
	case "/cut":
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "the beginning")
		_ = control.Flush()
		panic(http.ErrAbortHandler)
	case "/basket":
		http.SetCookie(w, &http.Cookie{Name: "basket", Value: "42", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	default:
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	}
}

// converse gives back each word with the page's cookie.
func (b *storefront) converse(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the origin was looked at
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, word, err := c.Read(r.Context())
		if err != nil || string(word) == "bye" {
			_ = c.Close(4001, "bye")
			return
		}
		_ = c.Write(r.Context(), kind, append([]byte(r.Header.Get("Cookie")+" "), word...))
	}
}
