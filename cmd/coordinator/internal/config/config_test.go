package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback/stale"
	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/journal"
)

// good is an environment without a mistake; tests change one thing of it.
var good = map[string]string{
	"HOME":                    "/home/op",
	"COORDINATOR_BULKHEADS":   "orders",
	"BULKHEAD_ORDERS_ROUTES":  "/api/orders/",
	"BULKHEAD_ORDERS_BACKEND": "http://127.0.0.1:8000",
}

// catalog is a second bulkhead.
var catalog = map[string]string{
	"COORDINATOR_BULKHEADS":    "orders,catalog",
	"BULKHEAD_CATALOG_ROUTES":  "/api/catalog/",
	"BULKHEAD_CATALOG_BACKEND": "http://127.0.0.1:8001",
}

// environ is good with the changes; the value "-" removes a variable.
func environ(changes ...map[string]string) []string {
	all := maps.Clone(good)
	for _, c := range changes {
		maps.Copy(all, c)
	}
	var list []string
	for name, value := range all {
		if value != "-" {
			list = append(list, name+"="+value)
		}
	}
	return list
}

func load(t *testing.T, changes ...map[string]string) *config.Config {
	t.Helper()
	c, err := config.Load(environ(changes...), "")
	if err != nil {
		t.Fatalf("Load:\n%v", err)
	}
	return c
}

// mistakes is the lines of the error of Load.
func mistakes(t *testing.T, err error) []string {
	t.Helper()
	problems, ok := errors.AsType[config.Errors](err)
	if !ok {
		t.Fatalf("error is %T (%v), want config.Errors", err, err)
	}
	lines := strings.Split(problems.Error(), "\n")
	if len(lines) != len(problems) {
		t.Errorf("%d problems on %d lines:\n%s", len(problems), len(lines), err)
	}
	return lines
}

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	c := load(t, map[string]string{"XDG_RUNTIME_DIR": "/run/user/7"})
	want := supervisor.Config{
		Listen:       []string{"127.0.0.1:8080"},
		AdminListen:  "127.0.0.1:9901",
		AdminSocket:  "/run/user/7/coordinator/admin.sock",
		StateDir:     "/home/op/.local/state/coordinator",
		RuntimeDir:   "/run/user/7/coordinator",
		DrainTimeout: 30 * time.Second,
		Conns:        20000,
		FrontLimits:  supervisor.FrontLimits{MinBodyRate: 240}.WithDefaults(),
		Journal:      supervisor.JournalConfig{SegmentBytes: 16 << 20, SegmentAge: time.Hour, TotalBytes: 1 << 30},
		Bulkheads: []supervisor.BulkheadConfig{{
			Name:   "orders",
			Routes: []supervisor.Route{{Prefix: "/api/orders/"}},
			Worker: supervisor.WorkerConfig{
				Kind: "proxy", Backend: "http://127.0.0.1:8000", BackendProtocol: "auto", BackendConnAge: 5 * time.Minute,
				Env: map[string]string{}, EnvFiles: map[string]string{},
			},
			Workers:       2,
			RestartBudget: supervisor.RestartBudget{Faults: 5, Per: time.Minute},
			Limit:         32,
			Queue:         16,
			QueueTimeout:  time.Second,
			UpgradeLimit:  32,
			MaxBody:       100 << 20,
			Timeout:       30 * time.Second,
			IdleTimeout:   time.Minute,
			Breaker: breaker.Settings{
				Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5,
				SlowRatio: 1, OpenFor: 5 * time.Second, Probes: 3,
			},
			BreakerMode:   breaker.Auto,
			BreakerStatus: []int{500, 502, 503, 504},
			Fallback: supervisor.FallbackConfig{
				Stale:     stale.Settings{Bytes: 64 << 20, MaxAge: 10 * time.Minute},
				BackupDir: "/home/op/.local/state/coordinator/backup/orders", BackupMaxAge: 30 * 24 * time.Hour,
				MaxShare: 1,
			},
			Journal: supervisor.RecordConfig{Scope: supervisor.JournalUnsafe, Sync: journal.Process},
			Idempotency: supervisor.IdempotencyConfig{Mode: supervisor.IdempotencyOff, Settings: idempotency.Settings{
				Bytes: 64 << 20, MaxAge: time.Hour, MaxAnswer: 1 << 20,
				Scope: []credential.Name{{Field: "Authorization"}, {Field: "Cookie"}, {Field: "X-Api-Key"}, {Field: "X-Auth-Token"}},
			}},
		}},
	}
	if !reflect.DeepEqual(c.Supervisor, want) {
		t.Errorf("got  %+v\nwant %+v", c.Supervisor, want)
	}
	if c.LogLevel != slog.LevelInfo || c.LogFormat != "json" {
		t.Errorf("log %v %q, want INFO json", c.LogLevel, c.LogFormat)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %v", c.Warnings)
	}
}

func TestValues(t *testing.T) {
	secret := write(t, "secret", "hush", 0o600)
	binary := write(t, "worker", "#!/bin/sh\n", 0o700)
	c := load(t, catalog, map[string]string{
		"COORDINATOR_LISTEN":                 ":8443, unix:/run/front.sock,systemd:web",
		"COORDINATOR_ADMIN_LISTEN":           "off",
		"COORDINATOR_ADMIN_SOCKET":           "/run/a.sock",
		"COORDINATOR_ADMIN_TOKEN":            "t0ken",
		"COORDINATOR_STATE_DIR":              "/srv/state",
		"COORDINATOR_TRUSTED_PROXIES":        "10.0.0.0/8, ::1,192.0.2.7",
		"COORDINATOR_DRAIN_TIMEOUT":          "1500ms",
		"COORDINATOR_DRAIN_DELAY":            "2s",
		"COORDINATOR_CONNS":                  "off",
		"COORDINATOR_CONNS_PER_CLIENT":       "100",
		"COORDINATOR_HEADER_TIMEOUT":         "5s",
		"COORDINATOR_KEEPALIVE_TIMEOUT":      "75s",
		"COORDINATOR_MIN_BODY_RATE":          "off",
		"COORDINATOR_MAX_STREAMS":            "7",
		"COORDINATOR_MAX_FIELDS":             "50",
		"COORDINATOR_MAX_FIELD_BYTES":        "8KiB",
		"COORDINATOR_MAX_TARGET_BYTES":       "2048",
		"COORDINATOR_LOG_LEVEL":              "debug",
		"COORDINATOR_LOG_FORMAT":             "text",
		"BULKHEAD_ORDERS_ROUTES":             "/api/orders/, GET Shop.Example/api/v2/orders",
		"BULKHEAD_ORDERS_BACKEND":            "https://[::1]:8443/base",
		"BULKHEAD_ORDERS_STRIP_PREFIX":       "/api",
		"BULKHEAD_ORDERS_HOST_HEADER":        "preserve",
		"BULKHEAD_ORDERS_LIMIT":              " 5 ",
		"BULKHEAD_ORDERS_MAX_BODY":           "10MB",
		"BULKHEAD_ORDERS_RESTART_BUDGET":     "3/5m",
		"BULKHEAD_ORDERS_MAX_DURATION":       "10m",
		"BULKHEAD_ORDERS_SLOW_LOG":           "1500ms",
		"BULKHEAD_ORDERS_BREAKER_SLOW_CALL":  "4s",
		"BULKHEAD_ORDERS_BREAKER_SLOW_RATIO": "0.8",
		"BULKHEAD_ORDERS_BREAKER_MODE":       "observe",
		"BULKHEAD_ORDERS_BREAKER_STATUS":     "503",
		"BULKHEAD_ORDERS_PATH":               "raw",
		"BULKHEAD_ORDERS_CORS_ORIGINS":       "https://Shop.example, http://localhost:3000",
		"BULKHEAD_ORDERS_OWNER":              "Team Orders",
		"BULKHEAD_ORDERS_ENV_FOO":            " kept ",
		"BULKHEAD_ORDERS_ENV_EMPTY":          "",
		"BULKHEAD_ORDERS_ENV_KEY_FILE":       secret,
		"BULKHEAD_CATALOG_WORKER":            binary,
		"BULKHEAD_CATALOG_BACKEND":           "-",
		"BULKHEAD_CATALOG_LIMIT":             "1",
		"BULKHEAD_CATALOG_WORKERS":           "1",
		"BULKHEAD_CATALOG_TIMEOUT":           "500ms", // below QUEUE_TIMEOUT, but a limit of 1 has no queue
	})
	s, orders, shop := c.Supervisor, c.Supervisor.Bulkheads[0], c.Supervisor.Bulkheads[1]
	for name, pair := range map[string][2]any{
		"LISTEN":          {s.Listen, []string{":8443", "unix:/run/front.sock", "systemd:web"}},
		"ADMIN_LISTEN":    {s.AdminListen, ""},
		"ADMIN_SOCKET":    {s.AdminSocket, "/run/a.sock"},
		"ADMIN_TOKEN":     {s.AdminToken, "t0ken"},
		"STATE_DIR":       {s.StateDir, "/srv/state"},
		"TRUSTED_PROXIES": {s.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.7/32")}},
		"DRAIN":           {[]time.Duration{s.DrainTimeout, s.DrainDelay}, []time.Duration{1500 * time.Millisecond, 2 * time.Second}},
		"CONNS":           {[]int{s.Conns, s.ConnsPerClient}, []int{0, 100}},
		"front limits": {s.FrontLimits, supervisor.FrontLimits{
			HeaderTimeout: 5 * time.Second, KeepAliveTimeout: 75 * time.Second, MaxStreams: 7,
			Head: supervisor.HeadLimits{TargetBytes: 2048, Fields: 50, FieldBytes: 8 << 10},
		}},
		"LOG":            {[]any{c.LogLevel, c.LogFormat}, []any{slog.LevelDebug, "text"}},
		"ROUTES":         {orders.Routes, []supervisor.Route{{Prefix: "/api/orders/"}, {Method: "GET", Host: "shop.example", Prefix: "/api/v2/orders"}}},
		"computed":       {[]int{orders.Queue, orders.UpgradeLimit, orders.Breaker.MinCalls}, []int{2, 5, 5}},
		"no queue":       {[]int{shop.Queue, shop.UpgradeLimit, shop.Breaker.MinCalls}, []int{0, 1, 1}},
		"MAX_BODY":       {orders.MaxBody, int64(10_000_000)},
		"RESTART_BUDGET": {orders.RestartBudget, supervisor.RestartBudget{Faults: 3, Per: 5 * time.Minute}},
		"MAX_DURATION":   {orders.MaxDuration, 10 * time.Minute},
		"SLOW_LOG":       {[]time.Duration{orders.SlowLog, shop.SlowLog}, []time.Duration{1500 * time.Millisecond, 0}},
		"BREAKER":        {[]any{orders.Breaker.SlowCall, orders.Breaker.SlowRatio, orders.BreakerMode, orders.BreakerStatus[0]}, []any{4 * time.Second, 0.8, breaker.Observe, 503}},
		"PATH":           {orders.RawPath, true},
		"CORS_ORIGINS":   {orders.CORSOrigins, []string{"https://shop.example", "http://localhost:3000"}},
		"OWNER":          {orders.Owner, "Team Orders"},
		"HOST_HEADER":    {orders.Worker.PreserveHost, true},
		"STRIP_PREFIX":   {orders.Worker.StripPrefix, "/api"},
		"ENV":            {orders.Worker.Env, map[string]string{"FOO": " kept ", "EMPTY": ""}},
		"ENV_FILE":       {orders.Worker.EnvFiles, map[string]string{"KEY": secret}},
		"WORKER":         {shop.Worker.Kind, binary},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %v", c.Warnings)
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	file := write(t, "c.env", "BULKHEAD_ORDERS_LIMIT=7\nBULKHEAD_ORDERS_WORKERS=3\nBULKHEAD_ORDERS_LIMT=1\n", 0o600)
	c, err := config.Load(environ(map[string]string{"BULKHEAD_ORDERS_LIMIT": "9"}), file)
	if got, want := mistakes(t, err), []string{file + ":3: BULKHEAD_ORDERS_LIMT: no such variable; did you mean BULKHEAD_ORDERS_LIMIT?"}; !slices.Equal(got, want) {
		t.Errorf("errors %q, want %q", got, want)
	}
	if !reflect.DeepEqual(c.Supervisor, supervisor.Config{}) {
		t.Error("a configuration with errors can be run")
	}
	for _, s := range c.Sections[1].Settings {
		switch s.Variable {
		case "BULKHEAD_ORDERS_LIMIT":
			if s.Value != "9" || s.From.String() != "environment" || s.From.Over != 1 {
				t.Errorf("LIMIT is %+v, want 9 from the environment over line 1", s)
			}
		case "BULKHEAD_ORDERS_WORKERS":
			if s.Value != "3" || s.From.Line != 2 {
				t.Errorf("WORKERS is %+v, want 3 from line 2", s)
			}
		}
	}
}

func TestDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		env           map[string]string
		state, socket string
	}{
		"systemd": {map[string]string{"STATE_DIRECTORY": "/var/lib/c:/var/lib/d", "RUNTIME_DIRECTORY": "/run/c", "XDG_RUNTIME_DIR": "/run/user/0"},
			"/var/lib/c", "/run/c/admin.sock"},
		"xdg": {map[string]string{"XDG_STATE_HOME": "/x/state", "XDG_RUNTIME_DIR": "/x/run"}, "/x/state/coordinator", "/x/run/coordinator/admin.sock"},
		// The XDG specification has relative paths ignored.
		"relative": {map[string]string{"XDG_STATE_HOME": "state", "HOME": "/h"}, "/h/.local/state/coordinator", ""},
		"bare":     {map[string]string{"HOME": "-", "TMPDIR": "/t"}, "/t/coordinator-" + uid(), "/t/coordinator-" + uid() + "/admin.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, test.env)
			if c.Supervisor.StateDir != test.state {
				t.Errorf("state %q, want %q", c.Supervisor.StateDir, test.state)
			}
			if test.socket != "" && c.Supervisor.AdminSocket != test.socket {
				t.Errorf("socket %q, want %q", c.Supervisor.AdminSocket, test.socket)
			}
			found, err := config.AdminSocket(environ(test.env), "")
			if err != nil || found != c.Supervisor.AdminSocket {
				t.Errorf("the commands look at %q (%v), the supervisor is at %q", found, err, c.Supervisor.AdminSocket)
			}
		})
	}
}

func TestAdminSocketOfBrokenConfiguration(t *testing.T) {
	file := write(t, "c.env", "nonsense\nCOORDINATOR_ADMIN_SOCKET=/run/x.sock\nBULKHEAD_ORDERS_LIMIT=0\n", 0o600)
	if got, err := config.AdminSocket(nil, file); err != nil || got != "/run/x.sock" {
		t.Errorf("got %q, %v, want /run/x.sock", got, err)
	}
	if _, err := config.AdminSocket(nil, file+".missing"); err == nil {
		t.Error("a missing file is no error")
	}
}

// Reload reads everything anew, so a large house must stay cheap.
func BenchmarkLoad100Bulkheads(b *testing.B) {
	var names, env []string
	for i := range 100 {
		name := fmt.Sprintf("b%d", i)
		names = append(names, name)
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		env = append(env, prefix+"ROUTES=/"+name+"/", prefix+"BACKEND=http://127.0.0.1:8000", prefix+"ENV_A=1", prefix+"LIMIT=8")
	}
	env = append(env, "COORDINATOR_BULKHEADS="+strings.Join(names, ","))
	b.ReportAllocs()
	for b.Loop() {
		if c, err := config.Load(env, ""); err != nil || len(c.Supervisor.Bulkheads) != 100 {
			b.Fatal(err)
		}
	}
}
