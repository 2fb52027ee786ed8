package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/pool"
)

const readmeFile = "../../README.md"

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readmePart is what stands between <!-- name --> and <!-- /name -->.
func readmePart(t *testing.T, name string) string {
	t.Helper()
	_, rest, begun := strings.Cut(readme(t), "<!-- "+name+" -->\n")
	part, _, ended := strings.Cut(rest, "<!-- /"+name+" -->")
	if !begun || !ended {
		t.Fatalf("the README has no part %q", name)
	}
	return part
}

// What the code knows better is written by it.
func TestReadmeTables(t *testing.T) {
	for name, write := range map[string]func(*testing.T) string{
		"variables": variableTable, "commands": commandTable, "reasons": reasonTable,
	} {
		part, want := readmePart(t, name), write(t)
		if part == want {
			continue
		}
		if !*update {
			t.Errorf("the %s of the README are not those of the code; go test ./cmd/coordinator -run Readme -update writes them anew:\n%s", name, want)
			continue
		}
		begin := "<!-- " + name + " -->\n"
		text := strings.Replace(readme(t), begin+part, begin+want, 1)
		if err := os.WriteFile(readmeFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func variableTable(t *testing.T) string {
	var b strings.Builder
	if err := config.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func commandTable(t *testing.T) string {
	parser, err := kong.New(&grammar{}, kong.Name("coordinator"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| command | does |\n|---|---|\n")
	for _, command := range parser.Model.Leaves(true) {
		usage := strings.TrimSuffix(command.Summary(), " [flags]")
		if group := command.Parent; group.DefaultCmd == command { // its own name need not be said
			usage = group.Path()
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", usage, command.Help)
	}
	return b.String()
}

func reasonTable(t *testing.T) string {
	word := func(is bool, yes string) string {
		if is {
			return yes
		}
		return ""
	}
	reasons := supervisor.Reasons()
	slices.SortStableFunc(reasons, func(a, b supervisor.Reason) int { return a.Status() - b.Status() })
	var b strings.Builder
	b.WriteString("| reason | status | Proxy-Status error | Retry-After | breaker | fallback | meaning |\n|---|---|---|---|---|---|---|\n")
	for _, r := range reasons {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s | %s | %s |\n", r, r.Status(), r.ProxyError(),
			word(r.Waiting(), "yes"), word(r.CountsAgainstBackend(), "failure"), word(r.AllowsFallback(), "yes"), meaning(t, r))
	}
	return b.String()
}

// meaning is the sentence that a client reads.
func meaning(t *testing.T, r supervisor.Reason) string {
	if r == supervisor.ReasonClientGone {
		return r.Title() + "."
	}
	w := httptest.NewRecorder()
	p := supervisor.Problem{Reason: r, Outcome: supervisor.OutcomeRefused}
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var body struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Detail == "" {
		t.Fatalf("%s: %q, %v", r, w.Body, err)
	}
	return body.Detail
}

// readmeRows are the cells of a table's rows, bare of code marks.
func readmeRows(t *testing.T, name string) [][]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(readmePart(t, name)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], "` ")
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("no table of %s", name)
	}
	return rows[2:]
}

func TestReadmeOutcomes(t *testing.T) {
	rows, outcomes := readmeRows(t, "outcomes"), supervisor.Outcomes()
	if len(rows) != len(outcomes) {
		t.Fatalf("%d rows for %d outcomes", len(rows), len(outcomes))
	}
	for i, o := range outcomes {
		last := rows[i][len(rows[i])-2:]
		want := []string{
			fmt.Sprint(supervisor.RetrySafe(supervisor.ReasonDeadline, o, http.MethodPost)),
			fmt.Sprint(supervisor.RetrySafe(supervisor.ReasonDeadline, o, http.MethodGet)),
		}
		if rows[i][0] != string(o) || !slices.Equal(last, want) {
			t.Errorf("row %q, want %s and %v", rows[i], o, want)
		}
	}
}

// source is all code of some folders that is no test.
func source(t *testing.T, folders ...string) string {
	t.Helper()
	var all bytes.Buffer
	for _, dir := range folders {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

func TestReadmeLogLines(t *testing.T) {
	code := source(t, "../../supervisor", "../../cmd")
	for _, row := range readmeRows(t, "log") {
		message, begins := strings.CutSuffix(row[0], "…")
		if !begins {
			message += `"`
		}
		if !regexp.MustCompile(`\.(Info|Warn|Error)\("` + regexp.QuoteMeta(message)).MatchString(code) {
			t.Errorf("nothing logs %q", row[0])
		}
	}
}

var metricName = regexp.MustCompile(`"(coordinator_[a-z_]+)"`)

// metricNames is every metric that the code defines.
func metricNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for _, match := range metricName.FindAllStringSubmatch(source(t, "../../supervisor"), -1) {
		names[match[1]] = true
	}
	return names
}

func TestReadmeMetrics(t *testing.T) {
	var listed []string
	for _, row := range readmeRows(t, "metrics") {
		listed = append(listed, row[0])
	}
	slices.Sort(listed)
	if want := slices.Sorted(maps.Keys(metricNames(t))); !slices.Equal(listed, want) {
		t.Errorf("listed:  %v\ndefined: %v", listed, want)
	}
}

// Who sums up losses by cause must know of every cause.
func TestReadmeCauses(t *testing.T) {
	rows := readmeRows(t, "metrics")
	i := slices.IndexFunc(rows, func(row []string) bool { return row[0] == "coordinator_worker_restarts_total" })
	if i < 0 {
		t.Fatal("no row of coordinator_worker_restarts_total")
	}
	for _, cause := range pool.Causes() {
		if text := rows[i][len(rows[i])-1]; !strings.Contains(text, "`"+string(cause)+"`") {
			t.Errorf("the cause %s is not among %s", cause, text)
		}
	}
}

// valid fails the test when text is no configuration, or one that warns.
func valid(t *testing.T, name, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coordinator.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load([]string{"HOME=/home/op"}, path)
	if err != nil || len(c.Warnings) > 0 {
		t.Fatalf("%s: %v %v", name, err, c.Warnings)
	}
	return c
}

func TestReadmeConfiguration(t *testing.T) {
	text := strings.NewReplacer("```sh\n", "", "```\n", "").Replace(readmePart(t, "first.env"))
	if c := valid(t, "README", text); len(c.Supervisor.Bulkheads) != 2 {
		t.Errorf("%d bulkheads", len(c.Supervisor.Bulkheads))
	}
}

// The worker in the README compiles, and says what it is when a person starts it.
func TestReadmeWorker(t *testing.T) {
	_, rest, _ := strings.Cut(readme(t), "```go\n")
	code, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README has no Go code")
	}
	dir := t.TempDir()
	main, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "worker")
	if err := os.WriteFile(main, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", binary, main)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as a worker is shipped
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(binary).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the coordinator starts it") {
		t.Errorf("%v: %s", err, out)
	}
}
