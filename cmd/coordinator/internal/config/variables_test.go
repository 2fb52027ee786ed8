package config

import (
	"os"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
)

// manual is the table that operators were promised: name after the prefix, and
// default.
var manual = struct{ global, bulkhead []string }{
	global: []string{
		"LISTEN 127.0.0.1:8080", "TLS_CERT", "TLS_KEY", "ADMIN_LISTEN 127.0.0.1:9901",
		"ADMIN_SOCKET $XDG_RUNTIME_DIR or temp dir", "ADMIN_TOKEN", "STATE_DIR $STATE_DIRECTORY, else the user's",
		"BULKHEADS required", "TRUSTED_PROXIES none", "DRAIN_TIMEOUT 30s", "DRAIN_DELAY 0", "CONNS 20000",
		"CONNS_PER_CLIENT off", "HEADER_TIMEOUT 10s", "KEEPALIVE_TIMEOUT 120s", "MIN_BODY_RATE 240", "MAX_STREAMS 100",
		"MAX_FIELDS 100", "MAX_FIELD_BYTES 64KiB", "MAX_TARGET_BYTES 16KiB", "JOURNAL_SEGMENT 16MiB", "JOURNAL_SEGMENT_AGE 1h",
		"JOURNAL_TOTAL 1GiB", "ACCESS_LOG off", "ACCESS_LOG_FILE standard output", "LOG_LEVEL info", "LOG_FORMAT json",
	},
	bulkhead: []string{
		"ROUTES required", "WORKER proxy", "BACKEND", "STRIP_PREFIX", "HOST_HEADER backend", "WORKERS 2", "LIMIT 32",
		"QUEUE half of LIMIT", "QUEUE_TIMEOUT 1s", "MAX_BODY 100MiB", "BACKEND_CA system roots", "BACKEND_CERT",
		"BACKEND_KEY", "BACKEND_PROTOCOL auto", "BACKEND_CONN_MAX_AGE 5m", "CORS_ORIGINS none", "RESTART_BUDGET 5/60s", "MEMORY_SOFT off",
		"MEMORY off", "MEMORY_ENFORCE best-effort", "DESCRIPTORS off", "MAX_REQUESTS off", "MAX_AGE off", "CPUS cores/WORKERS", "TIMEOUT 30s",
		"IDLE_TIMEOUT 60s", "MAX_DURATION off", "SLOW_LOG off", "UPGRADE_LIMIT LIMIT", "BREAKER_WINDOW 10s",
		"BREAKER_MIN_CALLS the smaller of 20 and LIMIT", "BREAKER_FAILURE_RATIO 0.5", "BREAKER_SLOW_CALL off",
		"BREAKER_SLOW_RATIO 1.0", "BREAKER_OPEN_FOR 5s", "BREAKER_PROBES 3", "BREAKER_MODE auto",
		"BREAKER_STATUS 500,502,503,504", "FALLBACK none", "FALLBACK_MODE on-failure", "FALLBACK_MAX_SHARE 1.0",
		"FALLBACK_MAX_FOR off", "STALE_BYTES 64MiB", "STALE_MAX_AGE 10m", "STALE_PER_CREDENTIAL none", "STALE_ON none",
		"BACKUP_DIR STATE_DIR/backup/X", "BACKUP_MAX_AGE 720h", "PATH strict", "JOURNAL unsafe", "JOURNAL_SYNC process",
		"JOURNAL_HEADERS none", "JOURNAL_QUERY off", "OWNER", "RUNBOOK", "ENV_FOO", "ENV_FOO_FILE",
	},
}

func TestEveryVariableOfTheManual(t *testing.T) {
	known := map[string]Variable{}
	for _, v := range Variables() {
		if v.Meaning == "" {
			t.Errorf("%s has no doc tag", v.Name)
		}
		known[v.Name] = v
	}
	check := func(prefix string, lines []string) {
		for _, line := range lines {
			key, want, _ := strings.Cut(line, " ")
			if v, ok := known[prefix+key]; !ok || v.Default != want {
				t.Errorf("%s: known %v, default %q, want %q", prefix+key, ok, v.Default, want)
			}
			delete(known, prefix+key)
		}
	}
	check("COORDINATOR_", manual.global)
	check("BULKHEAD_X_", manual.bulkhead)
	for name := range known {
		t.Errorf("%s is not in the manual", name)
	}
}

// TestFields holds env/v11's reading of the tags against ours, and every name
// against those that Kubernetes injects: such a variable would be ignored.
func TestFields(t *testing.T) {
	for _, test := range []struct {
		into   any
		fields []field
	}{{&global{}, globalFields}, {&bulkhead{}, bulkheadFields}} {
		params, err := env.GetFieldParamsWithOptions(test.into, env.Options{Environment: map[string]string{}, Prefix: "P_"})
		if err != nil || len(params) != len(test.fields) {
			t.Fatalf("%d fields, env/v11 sees %d, %v", len(test.fields), len(params), err)
		}
		for i, f := range test.fields {
			if params[i].OwnKey != f.key || params[i].DefaultValue != f.fallback {
				t.Errorf("field %s: env/v11 sees %+v", f.name, params[i])
			}
			if injected.MatchString("P_" + f.key) {
				t.Errorf("%s looks like what Kubernetes injects", f.key)
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != len(Variables())+2 {
		t.Errorf("%d lines for %d variables", len(lines), len(Variables()))
	}
	for _, line := range lines {
		if strings.Count(line, "|")-strings.Count(line, `\|`) != 4 {
			t.Errorf("not three cells: %s", line)
		}
	}
}

func TestVariablesFitTheScreen(t *testing.T) {
	var b strings.Builder
	if err := WriteVariables(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > Width+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	for _, v := range Variables() {
		if !strings.Contains(b.String(), v.Name) {
			t.Errorf("%s is missing", v.Name)
		}
	}
}

// TestProcessEnvironmentIsNotRead guards against env/v11's habit of falling back
// to it.
func TestProcessEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("COORDINATOR_CONNS", "7")
	if os.Getenv("COORDINATOR_CONNS") != "7" {
		t.Fatal("not set")
	}
	c, _ := Load(nil, "")
	for _, s := range c.Sections[0].Settings {
		if s.Variable == "COORDINATOR_CONNS" && s.Value != "20000" {
			t.Errorf("CONNS is %s, want 20000", s.Value)
		}
	}
	l := newLoader(source{}, nil)
	var g global
	if l.global().parse(&g); g.Conns != 20000 {
		t.Errorf("CONNS is %d, want 20000", g.Conns)
	}
}
