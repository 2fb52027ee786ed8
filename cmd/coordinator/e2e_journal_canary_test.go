//go:build linux

package main_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Secrets that go through the coordinator, well or badly, are in no file that it
// keeps, in no line that it logs, and in no answer about itself.
func TestJournalCanary(t *testing.T) {
	l := newLedger(t)
	s := runSite(t, append(payments(l), "COORDINATOR_ADMIN_LISTEN=127.0.0.1:0", "BULKHEAD_PAY_JOURNAL=all", "BULKHEAD_PAY_JOURNAL_HEADERS=User-Agent",
		"BULKHEAD_PAY_SLOW_LOG=1ms", "BULKHEAD_PAY_TIMEOUT=2s", "BULKHEAD_PAY_FALLBACK=stale")...)
	secrets := map[string]string{
		"Authorization": "Bearer canary-of-authorization", "Cookie": "session=canary-of-cookie", "X-Api-Key": "canary-of-api-key",
		"Idempotency-Key": "canary-of-idempotency", "Referer": "https://shop.example/?canary-of-referer", "X-Other": "canary-of-other",
	}
	ask := func(method, what string) {
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+"/pay/"+what+"?token=canary-of-query", strings.NewReader("card=canary-of-body"))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range secrets {
			r.Header.Set(name, value)
		}
		r.Header.Set("User-Agent", "witness")
		if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r); err == nil {
			resp.Body.Close()
		}
	}
	for _, method := range []string{"GET", "POST"} {
		for _, what := range []string{"x", "cut", "garbage", "part", "slow", "hold"} {
			ask(method, what)
		}
	}
	for _, pid := range s.pids("pay") { // the dump of a worker's stacks, and its death, go to the log
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
	ask("POST", "x")
	l.Close()
	ask("POST", "x")

	var answers bytes.Buffer
	for _, path := range []string{"/metrics", "/v1/status", "/healthz", "/readyz"} {
		_, body, err := s.adminGet(path)
		if err != nil || len(body) == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		answers.Write(body)
	}
	for _, args := range [][]string{{"status"}, {"status", "pay"}, {"journal", "find"}, {"journal", "find", "--json"}, {"journal", "tail", "-n", "50"}, {"journal", "stats"}} {
		answers.WriteString(s.must(args...))
	}
	if !strings.Contains(answers.String(), "/pay/garbage") || strings.Contains(answers.String(), "canary-of") {
		t.Error("the answers tell secrets, or nothing")
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	seen := make(map[string]bool) // what of all files shows that the search finds
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, word := range []string{"witness", "/pay/garbage"} {
			seen[word] = seen[word] || bytes.Contains(text, []byte(word))
		}
		if i := bytes.Index(text, []byte("canary-of")); i >= 0 {
			t.Errorf("%s tells: %s", path, text[max(0, i-200):min(len(text), i+60)])
		}
		if strings.Contains(path, "journal") && bytes.Contains(text, []byte("127.0.0.1")) {
			t.Errorf("%s has the client's address", path)
		}
		return err
	})
	if err != nil || !seen["witness"] || !seen["/pay/garbage"] {
		t.Errorf("%v %v", seen, err)
	}
}
