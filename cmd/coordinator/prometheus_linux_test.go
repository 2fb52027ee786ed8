package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// mayBeEmpty are queries that need not find anything in a demo that is well, by
// the title of their panel and the letter of the query.
var mayBeEmpty = map[string]string{
	"Alerts that fire A":                               "none fires within seconds",
	"Memory of each worker B":                          "the demo sets no limit of memory",
	"What operators did A":                             "nobody did anything: the counter begins with the first",
	"In two hours, if it goes on like the last hour A": "a line needs two points, a minute apart",
	"Idempotency keys, by verdict A":                   "nobody writes to payments, which alone takes keys",
	"Requests that are kept A":                         "the demo has no key that could seal them",
	"Requests that are kept B":                         "the same: the counter begins with the first",
	"Requests that are kept C":                         "nothing was sent again",
	"Limits that are found A":                          "the limits of the demo are fixed",
	"Limits that are found B":                          "they are",
	"Spans of traces A":                                "the demo has no collector",
}

// TestE2EPrometheus has a real Prometheus scrape the demo under load, by the
// configuration in deploy/, and asks it everything that the dashboard asks.
func TestE2EPrometheus(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	program := tool(t, "prometheus")
	stack := busyDemo(t)
	p := startPrometheus(t, program, stack.AdminListen)
	within(t, 30*time.Second, "a few scrapes", func() error { return p.finds("count_over_time(coordinator_requests_total[1m]) > 2") })
	within(t, 10*time.Second, "healthy rules", p.rulesAreHealthy)
	for _, v := range dashboard(t).Templating.List {
		if v.Type == "query" {
			if err := p.finds(seriesOf(t, v.Definition)); err != nil {
				t.Errorf("variable %s: %v", v.Name, err)
			}
		}
	}
	asked := 0
	for _, panel := range dashboard(t).Panels {
		for _, target := range panel.Targets {
			name, query := panel.Title+" "+target.RefID, grafanaQuery(target.Expr)
			asked++
			if mayBeEmpty[name] == "" {
				within(t, 20*time.Second, name+": "+query, func() error { return p.finds(query) })
			} else if _, err := p.ask(query); err != nil { // it must make sense all the same
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Logf("%d queries asked, %d of which may find nothing", asked, len(mayBeEmpty))
}

// busyDemo is a demo with reads and writes on every bulkhead.
func busyDemo(t *testing.T) *demo.Stack {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stack, err := demo.StartStack(t.Context(), demo.StackOptions{Exe: exe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	for path, method := range map[string]string{
		demoOrders: http.MethodGet, demoCatalog: http.MethodGet, "/api/payments/": http.MethodGet,
		"/orders/order_history/?username=" + demo.Username(7): http.MethodGet, "/api/v2/orders/": http.MethodPost,
	} {
		g, err := load.Start(t.Context(), load.Options{
			Target: load.Target{URL: "http://" + stack.Listen + path, Method: method}, Rate: 10, For: 5 * time.Minute, Conns: 16,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Stop() })
	}
	return stack
}

// A prometheus is a server of its own, with an empty store.
type prometheus struct {
	url  string
	http *http.Client
}

// startPrometheus runs one with the configuration in deploy/, every second.
func startPrometheus(t *testing.T, program, target string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs("../../deploy/" + alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	config := deployed(t, "prometheus/prometheus.yml")
	for old, new := range map[string]string{"127.0.0.1:9901": target, "15s": "1s", "alerts.yml": rules} {
		if !strings.Contains(config, old) {
			t.Fatalf("prometheus.yml has no %s", old)
		}
		config = strings.ReplaceAll(config, old, new)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()

	var said bytes.Buffer
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("prometheus: %v\n%s", err, said.String())
		}
	})
	p := &prometheus{"http://" + address, &http.Client{Timeout: 10 * time.Second}}
	within(t, 30*time.Second, "a Prometheus that is ready", func() error {
		res, err := p.http.Get(p.url + "/-/ready")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	return p
}

// get asks the API and fills data.
func (p *prometheus) get(path string, data any) error {
	res, err := p.http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w: %s", res.Status, err, text)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// ask is how many series a query finds now.
func (p *prometheus) ask(query string) (series int, err error) {
	var data struct{ Result []any }
	err = p.get("/api/v1/query?query="+url.QueryEscape(query), &data)
	return len(data.Result), err
}

// finds is nil when a query finds something.
func (p *prometheus) finds(query string) error {
	n, err := p.ask(query)
	if err == nil && n == 0 {
		err = errors.New("no series")
	}
	return err
}

// rulesAreHealthy is nil when every rule of the file is there and was evaluated.
func (p *prometheus) rulesAreHealthy() error {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("/api/v1/rules", &data); err != nil {
		return err
	}
	rules := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			rules++
			if r.Health != "ok" {
				return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if rules < 30 {
		return fmt.Errorf("only %d rules", rules)
	}
	return nil
}

// grafanaQuery is what Grafana makes of an expression when everything is chosen.
func grafanaQuery(expr string) string {
	return strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*", "$bulkhead", ".*").Replace(expr)
}

// seriesOf is the series that label_values(series, label) looks at.
func seriesOf(t *testing.T, definition string) string {
	t.Helper()
	inner, ok := strings.CutPrefix(definition, "label_values(")
	at := strings.LastIndex(inner, ",")
	if !ok || at < 0 {
		t.Fatalf("%q is no label_values", definition)
	}
	return grafanaQuery(inner[:at])
}

// within waits for what has to come.
func within(t *testing.T, patience time.Duration, what string, is func() error) {
	t.Helper()
	late := time.After(patience)
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-late:
			t.Fatalf("not within %s: %s: %v", patience, what, err)
		case <-time.After(100 * time.Millisecond): // between two looks
		}
	}
}
