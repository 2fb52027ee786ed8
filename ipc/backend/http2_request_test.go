package backend_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/exchange"
)

func TestHTTP2Head(t *testing.T) {
	heads := make(chan map[string]string, 1)
	b := frames(t, nil, func(f *framed) {
		for id := f.request(); id != 0; id = f.request() {
			heads <- f.asked[id]
			f.ok(id)
		}
	})
	req := newRequest(t, b, "PUT", "/", strings.NewReader("12"))
	req.URL.Opaque, req.Host = "//a%2f..", "shop.example"
	req.Header = header("Connection", "X-Hop", "Keep-Alive", "5", "Proxy-Connection", "x", "Te", "trailers",
		"Transfer-Encoding", "chunked", "Host", "y", "Content-Length", "9", "X-Blank", " v ")
	req.Header["x-raw"] = []string{"1"}
	if _, body, err := run(newHTTP2(t), req); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	want := map[string]string{":method": "PUT", ":scheme": "http", ":authority": "shop.example", ":path": "//a%2f..",
		"te": "trailers", "content-length": "2", "x-blank": "v", "x-raw": "1"}
	if got := <-heads; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestFieldsBeyondThePeersLimit(t *testing.T) {
	b := frames(t, []http2.Setting{{ID: http2.SettingMaxHeaderListSize, Val: 1000}}, (*framed).serveAll)
	tr := newHTTP2(t)
	req := newRequest(t, b, "GET", "/", nil)
	req.Header.Set("X", strings.Repeat("x", 1000))
	_, _, err := run(tr, req)
	wantFault(t, err, exchange.BadRequest, exchange.Taken)
	if _, body, err := get(t, tr, b); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
}

// What authenticates one user stays out of the table that the requests of all
// share.
func TestCredentialsAreNeverIndexed(t *testing.T) {
	heads := make(chan []hpack.HeaderField, 1)
	b := frames(t, nil, func(f *framed) {
		f.WriteSettingsAck()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if head, ok := frame.(*http2.MetaHeadersFrame); ok {
				heads <- slices.Clone(head.Fields)
				f.ok(head.StreamID)
			}
		}
	})
	secrets := []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token", "Api-Key", "X-Access-Token"}
	req := newRequest(t, b, "GET", "/", nil)
	for _, name := range append(secrets, "Accept", "X-Tenant") {
		req.Header.Set(name, "value")
	}
	if _, body, err := run(newHTTP2(t), req); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	for _, f := range <-heads {
		if secret := slices.Contains(secrets, http.CanonicalHeaderKey(f.Name)); f.Sensitive != secret {
			t.Errorf("%s: kept out of the table: %v", f.Name, f.Sensitive)
		}
	}
}
