package proxy_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/workers/proxy"
)

func TestSettingsRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string]map[string]string{
		"no URL":                    {},
		"must be http":              {"WORKER_BACKEND": "ftp://x"},
		"not a URL":                 {"WORKER_BACKEND": "http://u:secret@[x"},
		"user, query":               {"WORKER_BACKEND": "http://u:secret@x"},
		"must start with /":         {"WORKER_BACKEND": "http://x", "WORKER_STRIP_PREFIX": "api"},
		"WORKER_PRESERVE_HOST":      {"WORKER_BACKEND": "http://x", "WORKER_PRESERVE_HOST": "backend"},
		"CONN_MAX_AGE":              {"WORKER_BACKEND": "http://x", "WORKER_BACKEND_CONN_MAX_AGE": "5"},
		"must be auto, http1":       {"WORKER_BACKEND": "http://x", "WORKER_BACKEND_PROTOCOL": "h2c"},
		"must not be negative":      {"WORKER_BACKEND": "http://x", "WORKER_BACKEND_CONN_MAX_AGE": "-5s"},
		"both or neither":           {"WORKER_BACKEND": "https://x", "WORKER_BACKEND_CERT": "c.pem"},
		"no such file":              {"WORKER_BACKEND": "https://x", "WORKER_BACKEND_CA": empty + ".not"},
		"no certificate in":         {"WORKER_BACKEND": "https://x", "WORKER_BACKEND_CA": empty},
		"client certificate: open":  {"WORKER_BACKEND": "https://x", "WORKER_BACKEND_CERT": "/no", "WORKER_BACKEND_KEY": "/no"},
		"strip prefix \"x\": must":  {"WORKER_STRIP_PREFIX": "x"}, // every error at once
		"for a backend that is cal": {"WORKER_BACKEND": "http://x", "WORKER_BACKEND_CA": certificate(t)},
	} {
		_, err := proxy.FromEnv(func(name string) string { return env[name] })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", env, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells a secret", err)
		}
	}
}

// certificate is a file with some certificate.
func certificate(t *testing.T) string {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	return write(t, srv)
}

func write(t *testing.T, srv *httptest.Server) string {
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromEnvOverTLS(t *testing.T) {
	backend := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+r.URL.Path)
	}))
	defer backend.Close()
	env := map[string]string{
		"WORKER_BACKEND":              backend.URL + "/v2",
		"WORKER_STRIP_PREFIX":         "/api",
		"WORKER_PRESERVE_HOST":        "true",
		"WORKER_BACKEND_CA":           write(t, backend),
		"WORKER_BACKEND_CONN_MAX_AGE": "1m",
	}
	h, err := proxy.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	defer h.(io.Closer).Close()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/api/orders", nil))
	if w.Code != 200 || w.Body.String() != "shop.example/v2/orders" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
