package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/backup"
)

// prepareFolder writes what coordinator snapshot reads, of rules that keep all.
func prepareFolder(t *testing.T, dir, fields string) {
	t.Helper()
	for name, text := range map[string]string{
		backup.RequestsFile: "page.answer\nask /api/page\nfor /api/page\n" + fields, backup.RulesFile: ".",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func answering(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// What snapshot writes is where the configuration has it read.
func TestSnapshotFolderIsTheConfigured(t *testing.T) {
	dir := t.TempDir()
	prepareFolder(t, dir, "")
	environ := []string{
		"COORDINATOR_BULKHEADS=a", "COORDINATOR_STATE_DIR=" + t.TempDir(), "BULKHEAD_A_ROUTES=/api/", "BULKHEAD_A_BACKEND=http://127.0.0.1:9",
		"BULKHEAD_A_FALLBACK=backup", "BULKHEAD_A_BACKUP_DIR=" + dir,
	}
	code, out, errs := coordinator(t, environ, "snapshot", "a", "--url", answering(t, `{"well":true}`))
	if set, err := backup.Load(dir, backup.Bounds{}); code != exitDone || err != nil || set.Len() != 1 {
		t.Errorf("%d %v %v\n%s%s", code, set, err, out, errs)
	}
}

// What the request was made with is not kept, in whatever form the answer has it;
// what it asked for in general is no secret.
func TestSnapshotAndItsRequest(t *testing.T) {
	const basic = "Authorization: Basic am8ubWlsbGVyOmh1bnRlci0y" // jo.miller:hunter-2
	for _, c := range []struct {
		fields, header, body string
		code                 int
	}{
		{"", "Accept: application/json", `{"well":true}`, exitDone},
		{"", basic, `{"plan":"Basic"}`, exitDone},
		{"", "Authorization: Bearer nobody-else", `{"was":"a bearer of news"}`, exitDone},
		{"", basic, `{"owner":"Jo.Miller"}`, exitFailed},
		{"", basic, `{"note":"hunter-2"}`, exitFailed},
		{"", "Cookie: user=jo%20miller", `{"owner":"Jo Miller"}`, exitFailed},
		{"", "Cookie: sid=abcde12; user=jo+miller", `{"owner":"Jo Miller"}`, exitFailed},
		{"X-Ask-For: jo-miller\n", "Accept: */*", `{"owner":"jo-miller"}`, exitFailed},
		{"X-Api-Key: in-a-reviewed-file\n", "Accept: */*", `{"well":true}`, exitFailed},
	} {
		dir := t.TempDir()
		prepareFolder(t, dir, c.fields)
		code, out, errs := coordinator(t, nil, "snapshot", "a", "--dir", dir, "--url", answering(t, c.body), "-H", c.header)
		_, missing := os.Stat(filepath.Join(dir, "page.answer"))
		if code != c.code || (missing == nil) != (c.code == exitDone) {
			t.Errorf("%+v: exit %d\n%s%s", c, code, out, errs)
		}
		for _, secret := range []string{"Jo.Miller", "hunter-2", "Jo Miller", "in-a-reviewed-file"} {
			if strings.Contains(out+errs, secret) {
				t.Errorf("%+v: shown:\n%s", c, fmt.Sprint(out, errs))
			}
		}
	}
}
