package supervisor_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/supervisor"
)

// pair writes a key pair for 127.0.0.1 whose certificate has that serial number.
func pair(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestTLSServesHTTP2AndFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := pair(t, dir, 1)
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
	ask := func() (proto string, serial int64) {
		tr := &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("https://" + r.addr + "/a")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if string(b) != "a" || err != nil {
			t.Fatalf("%q %v", b, err)
		}
		return resp.Proto, resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if proto, serial := ask(); proto != "HTTP/2.0" || serial != 1 {
		t.Errorf("%s, certificate %d", proto, serial)
	}
	later := time.Now().Add(5 * time.Second)
	pair(t, dir, 2)
	os.Chtimes(cert, later, later)
	eventually(t, 10*time.Second, "new certificate served", func() bool { _, serial := ask(); return serial == 2 })
	os.WriteFile(key, []byte("broken"), 0o600)
	os.Chtimes(key, later.Add(time.Minute), later.Add(time.Minute))
	eventually(t, 3*time.Second, "a broken one is not taken", func() bool { _, serial := ask(); return serial == 2 })
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	r := start(t, one("a"))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Post("http://"+r.addr+"/a/echo", "text/plain", strings.NewReader("over two"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || string(b) != "over two" || err != nil {
		t.Errorf("%s %q %v", resp.Proto, b, err)
	}
}

// What a client sends before it has read the settings is bounded by the protocol's
// first window, and by nothing that they say.
func TestHTTP2UploadBeforeTheSettings(t *testing.T) {
	r := start(t, one("a"))
	var out, block bytes.Buffer
	fields, to := hpack.NewEncoder(&block), http2.NewFramer(&out, nil)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", r.addr}, {":path", "/a/sum"}} {
		_ = fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	out.WriteString(http2.ClientPreface)
	_ = to.WriteSettings()
	_ = to.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for left := 65535; left > 0; {
		n := min(left, 16<<10)
		left -= n
		_ = to.WriteData(1, left == 0, make([]byte, n))
	}
	_, br := r.raw(out.String())
	from, body := http2.NewFramer(nil, br), ""
	for ended := false; !ended; {
		f, err := from.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			body, ended = body+string(f.Data()), f.StreamEnded()
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatal(f)
		}
	}
	if body != "65535" {
		t.Errorf("it got %q bytes", body)
	}
}

func TestUnixListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front.sock")
	start(t, one("a"), func(o *supervisor.Options) { o.Config.Listen = []string{"unix:" + path} })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://x/a")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
}

func TestConnectionCaps(t *testing.T) {
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.ConnsPerClient = 2 })
	first, _ := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	nc, br := r.raw("")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("Proxy-Status"), "too_many_connections") {
		t.Fatalf("%v %v", resp, err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), `"reason":"too_many_connections"`) {
		t.Errorf("%s %v", b, err)
	}
	nc.Close()
	first.Close()
	eventually(t, 5*time.Second, "place free again", func() bool {
		_, br := r.raw("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		return err == nil && resp.StatusCode == 200
	})
}

func TestFrontRefuses(t *testing.T) {
	r := start(t, one("a"))
	for _, c := range []struct{ head, want string }{
		{"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "404 no_route"},
		{"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", "400 bad_request"},
		{"TRACE /a HTTP/1.1\r\nHost: x\r\n\r\n", "405 bad_request"},
		{"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Authorization\r\n\r\n", "400 bad_request"},
		{"GET /a?" + strings.Repeat("x", 17<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "414 bad_request"},
		{"GET /a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-F: y\r\n", 101) + "\r\n", "431 bad_request"},
		{"GET /a HTTP/1.1\r\nHost: x\r\nX-F: " + strings.Repeat("y", 70<<10) + "\r\n\r\n", "431 bad_request"},
	} {
		_, br := r.raw(c.head)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Errorf("%.40q: %v", c.head, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		status, reason, _ := strings.Cut(c.want, " ")
		if resp.Status[:3] != status || !strings.Contains(string(b), `"reason":"`+reason+`"`) || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%.40q: %s %s", c.head, resp.Status, b)
		}
	}
}

func TestPreflightThatCannotBeForwarded(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.CORSOrigins = []string{"https://shop.example"}
		c.Routes = append(c.Routes, supervisor.Route{Method: "GET", Prefix: "/getonly"})
	}))
	fields := []string{"Origin", "https://shop.example", "Access-Control-Request-Method", "GET"}
	if resp, _ := r.do("OPTIONS", "/getonly", nil, fields...); resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("no route for OPTIONS: %v", resp)
	}
	if all := scrape(t, r.socket); !strings.Contains(all, `coordinator_requests_total{bulkhead="none",code="204",outcome="refused"} 1`) ||
		!strings.Contains(all, `coordinator_refused_total{bulkhead="none",reason="no_route"} 1`) {
		t.Error("the preflight is not counted")
	}
	r.Drain(t.Context(), "a")
	if resp, _ := r.do("OPTIONS", "/a", nil, fields...); resp.StatusCode != 204 {
		t.Errorf("bulkhead drained: %v", resp)
	}
	resp, body := r.get("/a", "Origin", "https://shop.example")
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" || !strings.Contains(body, "draining") {
		t.Errorf("%v %s", resp, body)
	}
}

// A drain lets go of nothing: connections that speak get their answer and are
// told, silent ones are closed after 5 s, hanging ones at the deadline.
func TestDrainOfTheSupervisor(t *testing.T) {
	t.Parallel()
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.DrainTimeout = 2 * time.Second })
	nc, br := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.Close {
		t.Fatalf("%v %v", resp, err)
	} else {
		io.Copy(io.Discard, resp.Body)
	}
	_, hung := r.raw("GET /a/hang HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
	stopped := make(chan error, 1)
	begun := time.Now()
	go func() { stopped <- r.stop() }()
	eventually(t, 5*time.Second, "draining", func() bool { return r.Status().State == "draining" })
	eventually(t, 5*time.Second, "listener closed", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(nc, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("next request on an open connection: %v %v", resp, err)
	}
	if resp, err := http.ReadResponse(hung, nil); err != nil || resp.StatusCode != 504 {
		t.Errorf("hung request at the deadline: %v %v", resp, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d < 2*time.Second || d > 5*time.Second {
		t.Errorf("stopped after %v", d)
	}
}

// A preflight that the front answers itself waits for no slow body.
func TestPreflightOfTheFrontWaitsForNoBody(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.CORSOrigins, c.Routes = []string{"https://x"}, []supervisor.Route{{Method: "GET", Prefix: "/a"}}
	}))
	nc, br := r.raw("OPTIONS /a HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\n" +
		"Access-Control-Request-Method: GET\r\nContent-Length: 10\r\n\r\nhello")
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 204 || !resp.Close {
		t.Errorf("%v %v, want a preflight's answer that ends the connection", resp, err)
	}
}
