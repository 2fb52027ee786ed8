//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// gallery is a backend that shows each thing that HTTP carries.
type gallery struct {
	next chan struct{} // lets the next event out
	zip  []byte
}

func newGallery() *gallery {
	var zip bytes.Buffer
	w := gzip.NewWriter(&zip)
	_, _ = io.WriteString(w, strings.Repeat("compressed by the backend, ", 100))
	_ = w.Close()
	return &gallery{next: make(chan struct{}), zip: zip.Bytes()}
}

func (g *gallery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("X-Proto", r.Proto)
	switch r.URL.Path {
	case "/echo":
		_ = control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = control.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = control.Flush()
			if err != nil {
				break
			}
		}
		for name, values := range r.Trailer {
			w.Header()[http.TrailerPrefix+"Back-"+name] = values
		}
	case "/hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	case "/refuse":
		w.WriteHeader(http.StatusExpectationFailed)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = control.Flush()
			select {
			case <-g.next:
			case <-r.Context().Done():
				return
			}
		}
	case "/gzip":
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(g.zip)
	case "/fields":
		w.Header()["Set-Cookie"] = []string{"b=2; Path=/", "a=1", "b=3"}
		w.Header()["X-Seen"] = r.Header["X-Many"]
		w.Header().Set("X-Cookies", strings.Join(r.Header["Cookie"], "; "))
		w.Header()["X-Forbidden"] = slices.Concat(r.Header["Keep-Alive"], r.Header["Proxy-Connection"], r.Header["Upgrade"])
	case "/cors":
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
		w.Header().Set("Allow", "OPTIONS, PUT")
		w.WriteHeader(http.StatusNoContent)
	case "/ws":
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, text, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), kind, append([]byte(r.Proto+" "), text...))
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	default:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+2))
		_, _ = fmt.Fprintf(w, "%s:)", body)
	}
}

// wings are the bulkheads: their names, how the backend behind each is reached,
// and what it must see.
var wings = map[string]string{"plain": "HTTP/1.1", "prior": "HTTP/2.0", "alpn": "HTTP/2.0", "secure": "HTTP/1.1"}

// openGallery starts the backends and gives the settings of the bulkheads that
// call them, and a certificate with its key in files of a directory.
func openGallery(t *testing.T, g *gallery) (settings []string, dir string, roots *x509.CertPool) {
	t.Helper()
	over := httptest.NewUnstartedServer(g)
	over.EnableHTTP2 = true
	over.StartTLS()
	t.Cleanup(over.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Server{Handler: g, Protocols: new(http.Protocols)}
	plain.Protocols.SetHTTP1(true)
	plain.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { _ = plain.Serve(l) })
	t.Cleanup(func() { plain.Close(); serving.Wait() })

	dir, roots = t.TempDir(), x509.NewCertPool()
	roots.AddCert(over.Certificate())
	key, err := x509.MarshalPKCS8PrivateKey(over.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: over.Certificate().Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings = []string{"COORDINATOR_BULKHEADS=" + strings.Join(slices.Sorted(maps.Keys(wings)), ",")}
	for name := range wings {
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"ROUTES=/"+name, prefix+"STRIP_PREFIX=/"+name, prefix+"WORKERS=1")
		switch name {
		case "plain":
			settings = append(settings, prefix+"BACKEND=http://"+l.Addr().String())
		case "prior":
			settings = append(settings, prefix+"BACKEND=http://"+l.Addr().String(), prefix+"BACKEND_PROTOCOL=http2")
		case "alpn":
			settings = append(settings, prefix+"BACKEND="+over.URL, prefix+"BACKEND_CA="+dir+"/cert.pem")
		case "secure":
			settings = append(settings, prefix+"BACKEND="+over.URL, prefix+"BACKEND_CA="+dir+"/cert.pem", prefix+"BACKEND_PROTOCOL=http1")
		}
	}
	return settings, dir, roots
}

// visitor is a client of one protocol at the front, in one wing.
type visitor struct {
	t     *testing.T
	g     *gallery
	tr    *http.Transport
	url   string // of the front, with the wing
	proto string // at the front
	sees  string // what the backend must see
}

// Every protocol at the front, by every protocol to the backend: a client cannot
// tell.
func TestE2EHTTP2(t *testing.T) {
	beside(t)
	g := newGallery()
	settings, dir, roots := openGallery(t, g)
	bare := runSite(t, settings...)
	secure := runSite(t, append(settings, "COORDINATOR_TLS_CERT="+dir+"/cert.pem", "COORDINATOR_TLS_KEY="+dir+"/key.pem")...)
	secure.url = strings.Replace(secure.url, "http:", "https:", 1)
	for _, front := range []struct {
		name, url, proto string
		choose           func(*http.Protocols)
	}{
		{"http1", bare.url, "HTTP/1.1", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"h2c", bare.url, "HTTP/2.0", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
		{"h2", secure.url, "HTTP/2.0", func(p *http.Protocols) { p.SetHTTP2(true) }},
	} {
		tr := &http.Transport{
			Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: roots},
			ExpectContinueTimeout: 10 * time.Second, DisableCompression: true,
		}
		front.choose(tr.Protocols)
		defer tr.CloseIdleConnections()
		for _, wing := range slices.Sorted(maps.Keys(wings)) {
			t.Run(front.name+" to "+wing, func(t *testing.T) {
				v := &visitor{t: t, g: g, tr: tr, url: front.url + "/" + wing, proto: front.proto, sees: wings[wing]}
				for _, c := range []struct {
					name string
					look func(*visitor)
				}{
					{"simple", (*visitor).simple}, {"echo", (*visitor).echo}, {"duplex", (*visitor).duplex},
					{"hints", (*visitor).hints}, {"expect", (*visitor).expect}, {"events", (*visitor).events},
					{"gzip", (*visitor).gzip}, {"fields", (*visitor).fields}, {"cors", (*visitor).cors},
					{"websocket", (*visitor).websocket},
				} {
					t.Run(c.name, func(t *testing.T) {
						at := *v
						at.t = t
						c.look(&at)
					})
				}
			})
		}
	}
}

func (v *visitor) request(method, path string, body io.Reader) *http.Request {
	v.t.Helper()
	ctx, stop := context.WithTimeout(v.t.Context(), 10*time.Second)
	v.t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, method, v.url+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

// do gives the head of the answer, which must have come all the way.
func (v *visitor) do(r *http.Request, status int) *http.Response {
	v.t.Helper()
	resp, err := v.tr.RoundTrip(r)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != status || resp.Proto != v.proto || resp.Header.Get("X-Proto") != v.sees {
		v.t.Fatalf("%s over %s, %q to the backend; want %d over %s, %q",
			resp.Status, resp.Proto, resp.Header.Get("X-Proto"), status, v.proto, v.sees)
	}
	return resp
}

func (v *visitor) body(resp *http.Response) string {
	v.t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

func (v *visitor) simple() {
	for method, want := range map[string]string{"GET": ":)", "HEAD": "", "POST": "paid:)", "DELETE": ":)"} {
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader("paid")
		}
		resp := v.do(v.request(method, "/", body), http.StatusOK)
		length := int64(len(want))
		if method == "HEAD" {
			length = 2
		}
		if got := v.body(resp); got != want || resp.ContentLength != length {
			v.t.Errorf("%s: %q, length %d", method, got, resp.ContentLength)
		}
	}
}

// echo sends 10 MiB with a trailer, and has both back.
func (v *visitor) echo() {
	const size = 10 << 20
	up := &summed{Reader: io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sum: sha256.New()}
	r := v.request("POST", "/echo", up)
	r.ContentLength = -1
	r.Trailer = http.Header{"X-Sum": nil}
	up.end = func(sum string) { r.Trailer.Set("X-Sum", sum) }
	resp := v.do(r, http.StatusOK)
	down := sha256.New()
	n, err := io.Copy(down, resp.Body)
	sum := fmt.Sprintf("%x", down.Sum(nil))
	if err != nil || n != size || resp.Trailer.Get("Back-X-Sum") != sum {
		v.t.Errorf("%d bytes, %v, trailer %v, want %s", n, err, resp.Trailer, sum)
	}
}

// summed calls end with the sum of what was read.
type summed struct {
	io.Reader
	sum hash.Hash
	end func(sum string)
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.sum.Write(p[:n])
	if err == io.EOF {
		s.end(fmt.Sprintf("%x", s.sum.Sum(nil)))
	}
	return n, err
}

// duplex holds a conversation: no word is said before the last one came back.
func (v *visitor) duplex() {
	body, feed := io.Pipe()
	defer feed.Close()
	r := v.request("POST", "/echo", body)
	context.AfterFunc(r.Context(), func() { feed.Close() }) // or a transport that gives up waits for it
	resp := v.do(r, http.StatusOK)
	in := bufio.NewReader(resp.Body)
	for i := range 10 {
		word := fmt.Sprintf("word %d\n", i)
		_, _ = io.WriteString(feed, word)
		if got, err := in.ReadString('\n'); got != word {
			v.t.Fatalf("%q, %v", got, err)
		}
	}
	feed.Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		v.t.Errorf("%q, %v", rest, err)
	}
}

func (v *visitor) hints() {
	var hints []string
	r := v.request("GET", "/hints", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h.Get("Link")))
			return nil
		},
	}))
	resp := v.do(r, http.StatusOK)
	if got := v.body(resp); got != "done" || resp.Header.Get("Link") != "" || !slices.Equal(hints, []string{"103</style.css>; rel=preload"}) {
		v.t.Errorf("%q, %q, %v", hints, got, resp.Header)
	}
}

func (v *visitor) expect() {
	for path, status := range map[string]int{"/": 200, "/refuse": 417} {
		up := &summed{Reader: strings.NewReader("paid"), sum: sha256.New(), end: func(string) {}}
		r := v.request("POST", path, up)
		r.ContentLength = 4
		r.Header.Set("Expect", "100-continue")
		got := v.body(v.do(r, status))
		if status == 200 && got != "paid:)" {
			v.t.Errorf("%q", got)
		}
	}
}

// events arrive one by one: each before the next is sent.
func (v *visitor) events() {
	resp := v.do(v.request("GET", "/events", nil), http.StatusOK)
	in := bufio.NewReader(resp.Body)
	for i := range 5 {
		line, err := in.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			v.t.Fatalf("%q, %v", line, err)
		}
		if _, err := in.ReadString('\n'); err != nil {
			v.t.Fatal(err)
		}
		select {
		case v.g.next <- struct{}{}:
		case <-resp.Request.Context().Done():
			v.t.Fatal("nobody waits to send the next event")
		}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		v.t.Errorf("%q, %v", rest, err)
	}
}

func (v *visitor) gzip() {
	r := v.request("GET", "/gzip", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	resp := v.do(r, http.StatusOK)
	if got := v.body(resp); got != string(v.g.zip) || resp.Header.Get("Content-Encoding") != "gzip" {
		v.t.Errorf("%d bytes of %d, %v", len(got), len(v.g.zip), resp.Header)
	}
}

func (v *visitor) fields() {
	r := v.request("GET", "/fields", nil)
	r.Header["X-Many"] = []string{"3", "1", "2"}
	r.Header["Cookie"] = []string{"a=1; b=2; c=3"}
	resp := v.do(r, http.StatusOK)
	for name, want := range map[string][]string{
		"Set-Cookie": {"b=2; Path=/", "a=1", "b=3"}, "X-Seen": {"3", "1", "2"}, "X-Cookies": {"a=1; b=2; c=3"}, "X-Forbidden": nil,
	} {
		if got := resp.Header[name]; !reflect.DeepEqual(got, want) {
			v.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func (v *visitor) cors() {
	r := v.request("OPTIONS", "/cors", nil)
	r.Header.Set("Origin", "https://shop.example")
	r.Header.Set("Access-Control-Request-Method", "PUT")
	resp := v.do(r, http.StatusNoContent)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Methods": "PUT", "Allow": "OPTIONS, PUT",
	} {
		if got := resp.Header[name]; !slices.Equal(got, []string{want}) {
			v.t.Errorf("%s: %q", name, got)
		}
	}
}

// websocket goes over HTTP/1.1 all the way, where HTTP/2 is on too.
func (v *visitor) websocket() {
	if v.proto != "HTTP/1.1" {
		v.t.Skip("an upgrade is HTTP/1.1")
	}
	ctx, stop := context.WithTimeout(v.t.Context(), 10*time.Second)
	defer stop()
	c, _, err := websocket.Dial(ctx, v.url+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: v.tr}})
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		v.t.Fatal(err)
	}
	if _, text, err := c.Read(ctx); err != nil || string(text) != "HTTP/1.1 hello" {
		v.t.Errorf("%q, %v", text, err)
	}
}
