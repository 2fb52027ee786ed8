//go:build linux

package main_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	demobackup "commerce.example/coordinator/cmd/coordinator/internal/demo/backup"
	"commerce.example/coordinator/cmd/coordinator/internal/snapshot"
	"commerce.example/coordinator/supervisor/fallback/backup"
)

// planted is what somebody else's data could be, and must not reach the disk.
var planted = map[string]string{
	"email": "canary.jane@example.com", "card": "4111 1111 1111 1111", "token": "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "phone": "+1 415 555 0132",
	"jwt": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
}

// changing is a legacy service whose answers somebody changes on the way.
func changing(t *testing.T, s *demo.Service, change *atomic.Pointer[func(*http.Response, map[string]any)]) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := http.Get(s.URL() + r.URL.RequestURI())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		var page map[string]any
		if err != nil || json.Unmarshal(body, &page) != nil {
			panic(http.ErrAbortHandler)
		}
		if f := change.Load(); f != nil {
			(*f)(answer, page)
		}
		if body, err = json.Marshal(page); err != nil {
			panic(http.ErrAbortHandler)
		}
		answer.Header.Del("Content-Length")
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.StatusCode)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// plantAll puts each canary into an order, as a value and as a key, and into the
// fields of the answer.
func plantAll(answer *http.Response, page map[string]any) {
	order := page["results"].([]any)[0].(map[string]any)
	line := order["lines"].([]any)[0].(map[string]any)
	title := ""
	for kind, canary := range planted {
		order["planted_"+kind], line[canary] = canary, kind
		answer.Header.Set("X-Planted-"+kind, canary)
		title += canary + " "
	}
	for _, name := range []string{"title", "description", "status"} {
		line[name] = title
	}
	order["number"], order["currency"] = planted["card"], planted["token"]
	answer.Header.Set("Vary", "Accept")
	answer.Header.Set("Set-Cookie", "session="+planted["token"])
}

// snapshotSite has an orders bulkhead whose answers can be changed, and the folder
// of its backup data with the demo's requests and rules, and no answer.
func snapshotSite(t *testing.T) (s *site, dir string, change *atomic.Pointer[func(*http.Response, map[string]any)]) {
	t.Helper()
	change = new(atomic.Pointer[func(*http.Response, map[string]any)])
	backend := changing(t, fake(t, demo.Orders, demo.Options{}), change)
	s = runSite(t, "COORDINATOR_BULKHEADS=orders", "BULKHEAD_ORDERS_ROUTES=/api/v2/orders/", "BULKHEAD_ORDERS_BACKEND="+backend)
	dir = filepath.Join(s.dir, "state", "backup", "orders")
	if err := demobackup.Copy(dir, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "first-page.answer")); err != nil {
		t.Fatal(err)
	}
	return s, dir, change
}

// snapshotOrders runs the command, and is the row of the one answer that is asked for.
func snapshotOrders(t *testing.T, s *site, exit int, args ...string) snapshot.Row {
	t.Helper()
	code, output := s.cli(append([]string{"snapshot", "orders", "--json"}, args...)...)
	var report struct{ Answers []snapshot.Row }
	if err := json.Unmarshal([]byte(output), &report); err != nil || len(report.Answers) != 1 || code != exit {
		t.Fatalf("exit %d, want %d; %v: %s", code, exit, err, output)
	}
	for kind, canary := range planted {
		if strings.Contains(output, canary) {
			t.Errorf("the %s canary is shown: %s", kind, output)
		}
	}
	return report.Answers[0]
}

func folderText(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == backup.RequestsFile { // names a user of the demo, as what is asked
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(f.Name() + "\n" + string(text))
	}
	return all.String()
}

// Whatever is planted in the demo's orders, rules that keep all write nothing, and
// the demo's write an answer without it.
func TestSnapshotWritesNothingThatWasPlanted(t *testing.T) {
	s, dir, change := snapshotSite(t)
	rulesFile := filepath.Join(dir, backup.RulesFile)
	good, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string]func(*http.Response, map[string]any){"as it is": nil, "planted": plantAll} {
		change.Store(nil)
		if with != nil {
			change.Store(&with)
		}
		if err := os.WriteFile(rulesFile, []byte("."), 0o600); err != nil {
			t.Fatal(err)
		}
		row := snapshotOrders(t, s, 1)
		if row.Result != snapshot.Refused || !slices.Contains(row.Why, ".results[0].user.email: email") ||
			!slices.Contains(row.Why, ".results[0].user.username: request") {
			t.Errorf("%s: %+v", name, row)
		}
		if text := folderText(t, dir); strings.Contains(text, "first-page.answer") || strings.Contains(text, "@") {
			t.Errorf("%s: written although refused: %s", name, text)
		}
		if err := os.WriteFile(rulesFile, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if row := snapshotOrders(t, s, 0, "--dry-run"); row.Result != snapshot.New || strings.Contains(folderText(t, dir), "GET /") {
			t.Errorf("%s: dry run: %+v", name, row)
		}
		if row := snapshotOrders(t, s, 0); row.Result != snapshot.New {
			t.Errorf("%s: %+v", name, row)
		}
		text := folderText(t, dir)
		for kind, canary := range planted {
			if strings.Contains(text, canary) {
				t.Errorf("%s: the %s canary survived: %s", name, kind, text)
			}
		}
		for _, somebodys := range []string{"@example", "test_learner", "TEST-", "cybersource", "paypal"} {
			if strings.Contains(text, somebodys) {
				t.Errorf("%s: %q survived: %s", name, somebodys, text)
			}
		}
		set, err := backup.Load(dir, backup.Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := set.Find(httptest.NewRequest("GET", "/api/v2/orders/?username=anybody&page=1&page_size=5", nil)); !ok || len(a.Header) > 2 {
			t.Errorf("%s: %v, %v", name, ok, a)
		}
		if err := os.Remove(filepath.Join(dir, "first-page.answer")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotRefreshesAndVerifies(t *testing.T) {
	s, dir, change := snapshotSite(t)
	if row := snapshotOrders(t, s, 1, "--verify"); row.Result != snapshot.Failed {
		t.Errorf("verified what is not there: %+v", row)
	}
	snapshotOrders(t, s, 0)
	if row := snapshotOrders(t, s, 0); row.Result != snapshot.Unchanged {
		t.Errorf("again: %+v", row)
	}
	if row := snapshotOrders(t, s, 0, "--verify"); row.Result != snapshot.Same {
		t.Errorf("%+v", row)
	}
	before := folderText(t, dir)
	drifted := func(_ *http.Response, page map[string]any) {
		for _, order := range page["results"].([]any) {
			order := order.(map[string]any)
			order["total_excl_tax"] = 149.0
			delete(order, "currency")
		}
	}
	change.Store(&drifted)
	row := snapshotOrders(t, s, 1, "--verify")
	want := []string{".results[].currency was string and is null", ".results[].total_excl_tax was string and is null"}
	if row.Result != snapshot.Drifted || !slices.Equal(row.Why, want) {
		t.Errorf("%+v, want %q", row, want)
	}
	fallen := func(answer *http.Response, _ map[string]any) {
		answer.Header.Set("Cache-Status", "coordinator; hit; ttl=-5; detail=stale")
	}
	change.Store(&fallen)
	if row := snapshotOrders(t, s, 1); row.Result != snapshot.Failed || !strings.Contains(row.Why[0], "a fallback itself") {
		t.Errorf("%+v", row)
	}
	sick := func(answer *http.Response, _ map[string]any) { answer.StatusCode = http.StatusInternalServerError }
	change.Store(&sick)
	if row := snapshotOrders(t, s, 1); row.Result != snapshot.Failed || !strings.HasPrefix(row.Why[0], "status 500; want") {
		t.Errorf("%+v", row)
	}
	if folderText(t, dir) != before {
		t.Error("what failed changed the folder")
	}
	code, output := s.cli("snapshot", "orders")
	if code != 1 || !strings.Contains(output, "1 answer, 1 of them not as they should be; in ") {
		t.Errorf("%d %s", code, output)
	}
	if code, output := s.cli("snapshot", "ordres"); code != 2 || !strings.Contains(output, "orders") {
		t.Errorf("%d %s", code, output)
	}
	if code, output := s.cli("snapshot", "orders", "--dir", s.dir); code != 1 || !strings.Contains(output, "requests") {
		t.Errorf("%d %s", code, output)
	}
	if code, output := s.cli("snapshot", "orders", "--url", "ftp://x"); code != 2 {
		t.Errorf("%d %s", code, output)
	}
}
