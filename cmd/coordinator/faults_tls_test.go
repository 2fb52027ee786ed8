//go:build linux

package main_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A signer is a certificate and its key, and who may sign others.
type signer struct {
	cert *x509.Certificate
	pair tls.Certificate
}

// issue makes a certificate for 127.0.0.1, signed by ca or, without one, by
// itself. change makes it another one.
func issue(t *testing.T, ca *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "legacy"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, by := template, key
	if ca != nil {
		parent, by = ca.cert, ca.pair.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// files writes certificate and key as PEM.
func (s *signer) files(t *testing.T, path string) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = path+".crt", path+".key"
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: s.cert.Raw}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// FAULTS 23: a backend that does not prove who it is gets no request.
func TestFault23BackendTLS(t *testing.T) {
	t.Parallel()
	authority := func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	ca, stranger := issue(t, nil, authority), issue(t, nil, authority)
	good := issue(t, ca, nil)
	s := newSite(t)
	root, _ := ca.files(t, s.dir+"/ca")
	cert, key := issue(t, ca, nil).files(t, s.dir+"/client")
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)

	believe := "BACKEND_CA=" + root
	sorts := []struct {
		name     string
		server   *tls.Config // nil: it speaks no TLS
		settings []string
		status   int
		reason   string
		outcome  string
		seen     *atomic.Int64
	}{
		{name: "good", server: serve(good), settings: []string{believe}},
		{name: "expired", server: serve(issue(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })), settings: []string{believe}},
		{name: "name", server: serve(issue(t, ca, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} })), settings: []string{believe}},
		{name: "self", server: serve(issue(t, nil, nil)), settings: []string{believe}},
		{name: "stranger", server: serve(issue(t, stranger, nil)), settings: []string{believe}},
		{name: "unknown", server: serve(good)},
		{name: "old", server: &tls.Config{Certificates: []tls.Certificate{good.pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, settings: []string{believe}},
		{name: "plain", settings: []string{believe}},
		{name: "mutual", server: mutual(good, clients), settings: []string{believe, "BACKEND_CERT=" + cert, "BACKEND_KEY=" + key}},
		{name: "nobody", server: mutual(good, clients), settings: []string{believe}, outcome: "sent_unknown"},
		{name: "mute", settings: []string{believe}, status: 504, reason: "backend_timeout"},
	}
	var names, settings []string
	for i := range sorts {
		c := &sorts[i]
		c.seen = new(atomic.Int64)
		origin := "https://" + strings.TrimPrefix(rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
			switch {
			case c.name == "mute":
				_, _ = io.Copy(io.Discard, br)
				return
			case c.server != nil:
				secure := tls.Server(nc, c.server)
				nc, br = secure, bufio.NewReader(secure)
			}
			for {
				r, err := http.ReadRequest(br)
				if err != nil {
					if c.server == nil { // as servers say it to a stranger's greeting
						_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
					}
					return
				}
				c.seen.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}), "http://")
		prefix := "BULKHEAD_" + strings.ToUpper(c.name) + "_"
		names = append(names, c.name)
		settings = append(settings, prefix+"ROUTES=/"+c.name, prefix+"BACKEND="+origin, prefix+"WORKERS=1", prefix+"TIMEOUT=2s", prefix+"QUEUE_TIMEOUT=500ms", prefix+"BREAKER_WINDOW=5m")
		for _, setting := range c.settings {
			settings = append(settings, prefix+setting)
		}
	}
	s.set(append(settings, "COORDINATOR_BULKHEADS="+strings.Join(names, ","))...)
	s.start()
	client := newClient(t)
	for i := range sorts {
		c := &sorts[i]
		for n, method := range []string{"GET", "POST"} {
			a, err := probe{method: method, target: "/" + c.name}.ask(client, s.url)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if c.name == "good" || c.name == "mutual" {
				if a.status != "200 OK" || c.seen.Load() != int64(n+1) {
					t.Errorf("%s: %s %s", c.name, a.status, a.body)
				}
				continue
			}
			status, reason, outcome := 502, "backend_tls", "never_sent"
			if c.status != 0 {
				status, reason = c.status, c.reason
			}
			if c.outcome != "" {
				outcome = c.outcome
			}
			wantProblem(t, a, status, reason, outcome, outcome == "never_sent" || method == "GET")
			if c.seen.Load() > 0 {
				t.Errorf("%s was sent a request", c.name)
			}
			if got := s.bulkhead(c.name).Breaker.Failures; got != n+1 {
				t.Errorf("%s: the breaker counted %d failures, want %d", c.name, got, n+1)
			}
		}
	}
	for _, name := range []string{"expired", "name", "unknown"} {
		eventually(t, time.Second, fmt.Sprintf("a line that says what is wrong with %s", name), func() bool {
			return s.logged("backend failed", `"bulkhead":"`+name+`"`, "backend_tls", "x509: ")
		})
	}
	if n := s.metric("coordinator_worker_restarts_total"); n != 0 {
		t.Errorf("%v workers were replaced: a sick backend is no sick worker", n)
	}
}

func serve(s *signer) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{s.pair}} }

// mutual asks for a certificate of the client's.
func mutual(s *signer, clients *x509.CertPool) *tls.Config {
	c := serve(s)
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
	return c
}
