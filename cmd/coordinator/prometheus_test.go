package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const alertsFile = "prometheus/alerts.yml"

var usedMetric = regexp.MustCompile(`(?:^|[^:a-z_])(coordinator_[a-z_]+)`)

// unknownMetrics are the metrics that text uses and the code does not define: an
// alert on one never fires, a panel stays empty.
func unknownMetrics(t *testing.T, text string) (unknown []string) {
	t.Helper()
	names := metricNames(t)
	used := usedMetric.FindAllStringSubmatch(text, -1)
	if len(used) < 8 {
		t.Fatalf("only %q", used)
	}
	for _, match := range used {
		if name := strings.TrimSuffix(match[1], "_bucket"); !names[name] && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func TestAlertsUseMetricsThatExist(t *testing.T) {
	for _, name := range unknownMetrics(t, deployed(t, alertsFile)) {
		t.Errorf("no metric is called %s", name)
	}
}

// anAlert is one as it stands in the file.
type anAlert struct{ name, text string }

func alerts(t *testing.T) (all []anAlert) {
	t.Helper()
	for _, text := range strings.Split(deployed(t, alertsFile), "      - alert: ")[1:] {
		name, _, _ := strings.Cut(text, "\n")
		all = append(all, anAlert{name, text})
	}
	if len(all) < 20 {
		t.Fatalf("only %d alerts", len(all))
	}
	return all
}

// Who is woken up must be told what it is, what to do, and about a bulkhead whose
// it is and where to look.
func TestAlertsAreComplete(t *testing.T) {
	ofBulkhead := regexp.MustCompile(`\$labels\.bulkhead`)
	for _, a := range alerts(t) {
		for _, want := range []string{`summary: ".+"`, `description: ".+"`, `severity: (page|ticket)\}`} {
			if !regexp.MustCompile(want).MatchString(a.text) {
				t.Errorf("%s has no %s", a.name, want)
			}
		}
		if !ofBulkhead.MatchString(a.text) {
			continue
		}
		for _, want := range []string{"group_left (owner, runbook) coordinator_bulkhead_info", `runbook_url: "{{ $labels.runbook }}"`} {
			if !strings.Contains(a.text, want) {
				t.Errorf("%s is about a bulkhead and has no %s", a.name, want)
			}
		}
	}
}

// Every alert is seen to fire, and not to.
func TestAlertsAreTestedBothWays(t *testing.T) {
	tests := deployed(t, "prometheus/alerts_test.yml")
	for _, a := range alerts(t) {
		if !regexp.MustCompile(`alertname: ` + a.name + `, eval_time: \S+, exp_alerts: \[\]\}`).MatchString(tests) {
			t.Errorf("no test has %s not fire", a.name)
		}
		if !regexp.MustCompile(`alertname: ` + a.name + `\n +eval_time: \S+\n +exp_alerts:\n +- exp_labels`).MatchString(tests) {
			t.Errorf("no test has %s fire", a.name)
		}
	}
}

// tool is a program that a developer may do without, and CI may not.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no %s in PATH (Debian: apt-get install prometheus)", name)
	}
	return path
}

// promtool runs the tool in the folder of the rules.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), args...)
	cmd.Dir = "../../deploy/prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusConfiguration(t *testing.T) { promtool(t, "check", "config", "prometheus.yml") }

func TestAlertsFire(t *testing.T) {
	t.Parallel()
	promtool(t, "test", "rules", "alerts_test.yml")
}
