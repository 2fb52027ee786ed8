package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
)

func uid() string { return strconv.Itoa(os.Getuid()) }

// TestMistakes has one change of a good environment a row, and a part of the one
// line that must come of it.
func TestMistakes(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	text := write(t, "notes.txt", "no certificate", 0o644)
	keyFile := map[string]string{"COORDINATOR_JOURNAL_KEY_FILE": write(t, "journal.key", strings.Repeat("0123456789abcdef", 4), 0o600)}
	badKey := write(t, "bad.key", "hush", 0o600)
	const o = "BULKHEAD_ORDERS_"
	for _, test := range []struct {
		variable, value string
		more            map[string]string
		want            string
	}{
		// values of the wrong form
		{"COORDINATOR_LISTEN", "8080", nil, `"8080" is none; want HOST:PORT`},
		{"COORDINATOR_LISTEN", "a:99999", nil, `want HOST:PORT`},
		{"COORDINATOR_LISTEN", "unix:", nil, `want unix: with a path`},
		{"COORDINATOR_LISTEN", "unix:/" + strings.Repeat("x", 100), nil, `101 bytes; want at most 100`},
		{"COORDINATOR_LISTEN", "systemd:", nil, `want systemd: with the FileDescriptorName`},
		{"COORDINATOR_LISTEN", "none", nil, `want at least one listener`},
		{"COORDINATOR_LISTEN", ":1,:1", nil, `":1" is there twice`},
		{"COORDINATOR_LISTEN", ":1,,:2", nil, `an empty entry`},
		{"COORDINATOR_ADMIN_LISTEN", "none", nil, `want off or HOST:PORT`},
		{"COORDINATOR_ADMIN_SOCKET", "/" + strings.Repeat("x", 100), nil, `want at most 100`},
		{"COORDINATOR_STATE_DIR", "mistakes_test.go", nil, `is a file; want a folder`},
		{"COORDINATOR_ADMIN_SOCKET", "mistakes_test.go", nil, `there is a file that is no socket`},
		{"COORDINATOR_LISTEN", "unix:mistakes_test.go", nil, `there is a file that is no socket at mistakes_test.go`},
		{"COORDINATOR_TRUSTED_PROXIES", "proxy.example", nil, `want addresses or networks`},
		{"COORDINATOR_TRUSTED_PROXIES", "10.1.2.3/8", nil, `want 10.0.0.0/8 or the one address`},
		{"COORDINATOR_DRAIN_TIMEOUT", "30", nil, `="30": a number without a unit; want a duration above 0, such as 1500ms`},
		{"COORDINATOR_DRAIN_TIMEOUT", "0", nil, `want a duration above 0`},
		{"COORDINATOR_DRAIN_DELAY", "-1s", nil, `want 0 or a duration`},
		{"COORDINATOR_CONNS", "0", nil, `want off or a whole number`},
		{"COORDINATOR_HEADER_TIMEOUT", "10ms", nil, `="10ms": want a duration from 1s to 5m`},
		{"COORDINATOR_HEADER_TIMEOUT", "10", nil, `a number without a unit`},
		{"COORDINATOR_KEEPALIVE_TIMEOUT", "2h", nil, `want a duration from 1s to 1h`},
		{"COORDINATOR_MIN_BODY_RATE", "2MiB", nil, `want off or bytes per second, at most 1MiB`},
		{"COORDINATOR_MIN_BODY_RATE", "0", nil, `="0": want off or bytes per second, at most 1MiB`},
		{"COORDINATOR_MAX_STREAMS", "101", nil, `want a whole number from 1 to 100`},
		{"COORDINATOR_MAX_STREAMS", "0", nil, `="0": want a whole number from 1 to 100`},
		{"COORDINATOR_MAX_FIELDS", "9", nil, `want a whole number from 10 to 1000`},
		{"COORDINATOR_MAX_FIELD_BYTES", "512", nil, `want 1KiB to 256KiB`},
		{"COORDINATOR_MAX_TARGET_BYTES", "65KiB", nil, `want 256 bytes to 64KiB`},
		{"COORDINATOR_JOURNAL_SEGMENT", "512KiB", nil, `="512KiB": want 1MiB to 1GiB`},
		{"COORDINATOR_JOURNAL_SEGMENT", "16", nil, `want 1MiB to 1GiB`},
		{"COORDINATOR_JOURNAL_SEGMENT_AGE", "30s", nil, `want a duration from 1m to 168h`},
		{"COORDINATOR_JOURNAL_TOTAL", "20MiB", nil, `has no room for two of COORDINATOR_JOURNAL_SEGMENT=16MiB`},
		{"COORDINATOR_LOG_LEVEL", "loud", nil, `="loud": want one of debug, info, warn, error`},
		{"COORDINATOR_LOG_FORMAT", "xml", nil, `want one of json, text`},
		{o + "LIMIT", "0", nil, `="0": want a whole number from 1`},
		{o + "LIMIT", "3000000000", nil, `want a whole number from 1 to 1000000`},
		{o + "LIMIT", "auto", nil, `="auto": want auto:LEAST-MOST, two whole numbers from 1 to 1000000, such as auto:8-64`},
		{o + "LIMIT", "auto:64-8", nil, `="auto:64-8": want auto:LEAST-MOST with LEAST below MOST`},
		{o + "LIMIT", "auto:8-8", nil, `with LEAST below MOST`},
		{o + "LIMIT", "auto:0-4", nil, `="auto:0-4": want auto:LEAST-MOST, two whole numbers from 1`},
		{o + "LIMIT", "advise:8", nil, `="advise:8": want advise:LEAST-MOST, two whole numbers`},
		{o + "LIMIT", "advise:8-9000000", nil, `want advise:LEAST-MOST, two whole numbers from 1 to 1000000`},
		{o + "LIMIT", "adaptive:8-64", nil, `want a whole number from 1 to 1000000, or auto:LEAST-MOST, or advise:LEAST-MOST`},
		{o + "LIMIT", "auto:2-64", map[string]string{o + "BREAKER_MIN_CALLS": "20"}, `a total hang of the backend could not open the breaker: BULKHEAD_ORDERS_LIMIT=auto:2-64 lets too few calls fail`},
		{o + "WORKERS", "0", nil, `want a whole number from 1 to 1000`},
		{o + "WORKERS", "1000000", nil, `="1000000": want a whole number from 1 to 1000`},
		{o + "QUEUE", "-1", nil, `want a whole number from 0`},
		{o + "MAX_BODY", "64M", nil, `want a number of bytes above 0, such as 512, 64KiB`},
		{o + "MAX_BODY", "9999999999GiB", nil, `want a number of bytes`},
		{o + "MAX_BODY", "0", nil, `want a number of bytes above 0`},
		{o + "MAX_DURATION", "0", nil, `want off or a duration above 0`},
		{o + "SLOW_LOG", "2", nil, `want off or a duration above 0`},
		{o + "BREAKER_FAILURE_RATIO", "0", nil, `want a ratio above 0 and at most 1`},
		{o + "BREAKER_FAILURE_RATIO", "50%", nil, `such as 0.5`},
		{o + "BREAKER_SLOW_RATIO", "NaN", nil, `want a ratio`},
		{o + "BREAKER_STATUS", "500,404", nil, `"404" cannot be a failure`},
		{o + "BREAKER_MODE", "off", nil, `want one of auto, open, closed, observe`},
		{o + "JOURNAL", "on", nil, `="on": want one of off, unsafe, all, failures`},
		{o + "JOURNAL_SYNC", "never", nil, `want one of process, always`},
		{o + "JOURNAL_QUERY", "yes", nil, `want one of off, on`},
		{o + "JOURNAL_HEADERS", "User Agent", nil, `is no name of a header field`},
		{o + "JOURNAL_HEADERS", "User-Agent,authorization", nil, `the field Authorization holds a secret and is never recorded`},
		{o + "JOURNAL_HEADERS", "X-Vault-Token", nil, `the field X-Vault-Token holds a secret and is never recorded`},
		{o + "JOURNAL_HEADERS", "A,B,C,D,E,F,G,H,I,J,K,L,M,N,O,P,Q", nil, `17 header fields; at most 16`},
		{o + "JOURNAL_TOTAL", "1GiB", nil, `COORDINATOR_JOURNAL_TOTAL`},
		{o + "RESTART_BUDGET", "5", nil, `want FAULTS/DURATION`},
		{o + "RESTART_BUDGET", "0/60s", nil, `both above 0`},
		{o + "MEMORY", "1MB", nil, `leaves a worker no room to work; want off or at least 32MiB`},
		{o + "MEMORY", "lots", nil, `want off or a number of bytes above 0, such as 256MiB`},
		{o + "MEMORY_SOFT", "1MB", nil, `want off or at least 32MiB`},
		{o + "MEMORY_SOFT", "512MiB", map[string]string{o + "MEMORY": "512MiB"}, `would never be reached: BULKHEAD_ORDERS_MEMORY=512MiB comes first`},
		{o + "MEMORY_ENFORCE", "yes", nil, `want one of best-effort, required`},
		{o + "DESCRIPTORS", "255", nil, `LIMIT and UPGRADE_LIMIT let in could need so many; want off or at least 256`},
		{o + "MAX_REQUESTS", "0", nil, `want off or a whole number from 1`},
		{o + "MAX_AGE", "3600", nil, `a number without a unit; want off or a duration above 0`},
		{o + "CPUS", "0", nil, `want a whole number from 1`},
		{o + "HOST_HEADER", "keep", nil, `want one of backend, preserve`},
		{o + "PATH", "loose", nil, `want one of strict, raw`},
		{o + "FALLBACK", "cache", nil, `="cache": "cache" is none; want none, or stale, backup or both`},
		{o + "FALLBACK", "stale,stale", nil, `="stale,stale": "stale" is there twice; want it once`},
		{o + "FALLBACK_MODE", "always", nil, `="always": answers from backup data alone; want BULKHEAD_ORDERS_FALLBACK=backup with it`},
		{o + "FALLBACK_MAX_SHARE", "2", nil, `="2": want a ratio above 0 and at most 1, such as 0.5`},
		{o + "STALE_ON", "404", nil, `="404": "404" cannot be a failure of the backend; want statuses from 500 to 599`},
		{o + "STALE_PER_CREDENTIAL", "Authorization:x", nil, `="Authorization:x": credential "Authorization:x": only Cookie has parts, as Cookie:NAME`},
		{o + "CORS_ORIGINS", "*", nil, `want origins by name`},
		{o + "CORS_ORIGINS", "https://shop.example/", nil, `without path or slash`},
		{o + "OWNER", "a\nb", nil, `="a\nb": want text without control characters`},
		{o + "STRIP_PREFIX", "api", nil, `want the beginning of a path`},
		// backends
		{o + "BACKEND", "-", nil, `BULKHEAD_ORDERS_BACKEND: the proxy worker needs it`},
		{o + "BACKEND", "-", map[string]string{o + "WORKER": "orders"}, `BULKHEAD_ORDERS_BACKEND: the orders worker needs it`},
		{o + "ENV_ORDERS_ADAPTER", "odd", map[string]string{o + "WORKER": "orders"}, `want the shape of the orders backend: one of legacy, vendor`},
		{o + "BACKEND", "127.0.0.1:8000", nil, `want an http or https URL with a host`},
		{o + "BACKEND", "ftp://x", nil, `want an http or https URL`},
		{o + "BACKEND", "http://x/?a=b", nil, `without query and fragment`},
		{o + "BACKEND", "http://x:0", nil, `want a port from 1`},
		{o + "BACKEND", "http://u:hush@x", nil, `="http://***@x": want no user name or password`},
		// routes
		{o + "ROUTES", "-", nil, `BULKHEAD_ORDERS_ROUTES: want [METHOD ][HOST]/PREFIX`},
		{o + "ROUTES", "orders", nil, `route "orders" has no path`},
		{o + "ROUTES", "get /a", nil, `not in upper case`},
		{o + "ROUTES", "TRACE /a", nil, `has TRACE, which is never let in`},
		{o + "ROUTES", "GET /a b", nil, `is not one or two words`},
		{o + "ROUTES", "shop.example:80/a", nil, `has a port`},
		{o + "ROUTES", "http://shop.example/a", nil, `has a scheme`},
		{o + "ROUTES", "/a b", nil, `has a space in its path`},
		{o + "ROUTES", "*.example/a", nil, `no wildcard`},
		{o + "ROUTES", "shop..example/a", nil, `empty label`},
		{o + "ROUTES", "/a/../b", nil, `has a dot segment`},
		{o + "ROUTES", "/a//b", nil, `has //`},
		{o + "ROUTES", "/a%2fb", nil, `has '%' in its path`},
		{o + "ROUTES", "/a,/a/", nil, `route "/a/" is there twice`},
		// files and processes
		{"COORDINATOR_TLS_CERT", cert, nil, `COORDINATOR_TLS_KEY is not set; want both or neither`},
		{"COORDINATOR_TLS_KEY", key, nil, `COORDINATOR_TLS_CERT is not set`},
		{"COORDINATOR_TLS_CERT", cert + ".gone", map[string]string{"COORDINATOR_TLS_KEY": key}, `no such file or directory; want a file that can be read`},
		{"COORDINATOR_TLS_CERT", filepath.Dir(cert), map[string]string{"COORDINATOR_TLS_KEY": key}, `not a regular file`},
		{"COORDINATOR_TLS_CERT", cert, map[string]string{"COORDINATOR_TLS_KEY": otherKey}, `private key does not match`},
		{o + "BACKEND_CA", cert, nil, `BACKEND is not https`},
		{o + "BACKEND_CA", text, map[string]string{o + "BACKEND": "https://x"}, `no certificate in it`},
		{o + "BACKEND_KEY", key, map[string]string{o + "BACKEND": "https://x"}, `BULKHEAD_ORDERS_BACKEND_CERT is not set`},
		{o + "WORKER", "proxi", nil, `or the path of an executable file, with a / in it; did you mean proxy?`},
		{o + "WORKER", "/no/such/worker", nil, `no such file or directory; want a built-in kind`},
		{o + "WORKER", text, nil, `not executable`},
		{o + "ENV_FOO_FILE", "/no/such/secret", nil, `="/no/such/secret": no such file`},
		{o + "ENV_FOO_FILE", "hush", nil, `ENV_FOO_FILE=***: no such file`},
		{o + "ENV_FOO_FILE", text, map[string]string{o + "ENV_FOO": "hush"}, `BULKHEAD_ORDERS_ENV_FOO is set too; want one of the two`},
		{o + "ENV_PLUGIN_X", "hush", nil, `ENV_PLUGIN_X=***: PLUGIN_X is the worker protocol's own`},
		{o + "ENV_WORKER_X", "1", nil, `WORKER_X is the worker protocol's own`},
		{o + "ENV_COORDINATOR_X_FILE", text, nil, `COORDINATOR_X is the worker protocol's own`},
		{o + "ENV_", "1", nil, `want a name of letters, digits and _ after ENV_`},
		{o + "ENV_A-B", "1", nil, `want a name of letters, digits and _`},
		// requests that are kept
		{o + "JOURNAL_BODY", "64KiB", nil, `="64KiB": what is kept is sealed; want COORDINATOR_JOURNAL_KEY_FILE with it`},
		{o + "JOURNAL_BODY", "on", keyFile, `="on": want off or at most 16MiB`},
		{o + "JOURNAL_BODY", "17MiB", keyFile, `="17MiB": want off or at most 16MiB`},
		// a secret itself where the name of its file should be
		{"COORDINATOR_JOURNAL_KEY_FILE", strings.Repeat("5a", 32), nil, `COORDINATOR_JOURNAL_KEY_FILE=***: no such file or directory`},
		{"COORDINATOR_JOURNAL_KEY_FILE", "/" + strings.Repeat("x", 42) + "=", nil, `COORDINATOR_JOURNAL_KEY_FILE=***: no such file or directory`},
		{"COORDINATOR_JOURNAL_KEY_FILE", "no.such.key", nil, `COORDINATOR_JOURNAL_KEY_FILE="no.such.key": no such file or directory`},
		{"COORDINATOR_TLS_KEY", "-----BEGIN PRIVATE KEY-----\nhush./hush", map[string]string{"COORDINATOR_TLS_CERT": cert}, `COORDINATOR_TLS_KEY=***: `},
		{o + "BACKEND_IDEMPOTENT", "yes", nil, `="yes": want one of false, true`},
		{"COORDINATOR_JOURNAL_KEY_FILE", badKey, map[string]string{o + "JOURNAL_BODY": "1"}, `line 1 is no key; want 32 bytes, or on each line`},
		{"COORDINATOR_JOURNAL_KEY_FILE", badKey + ".gone", map[string]string{o + "JOURNAL_BODY": "1"}, `no such file or directory; want a file with a key of 32 bytes`},
		{"COORDINATOR_JOURNAL_KEY_FILE", text, nil, `others can open it (mode 0644); want 0600`},
		{"COORDINATOR_JOURNAL_KEY_FILE", filepath.Dir(text), nil, `not a regular file`},
		// names
		{"COORDINATOR_BULKHEADS", "orders,orders", nil, `"orders" is there twice`},
		{"COORDINATOR_BULKHEADS", "orders,a_b", nil, `"a_b" is no name; want at most 32 lower-case letters`},
		{"COORDINATOR_BULKHEADS", "Orders", nil, `"Orders" is no name`},
		{"COORDINATOR_BULKHEADS", "orders,2nd", nil, `"2nd" is no name`},
		{"COORDINATOR_BULKHEADS", "orders,a-", nil, `"a-" is no name`},
		{"COORDINATOR_LISTN", "hush", nil, `COORDINATOR_LISTN: no such variable; did you mean COORDINATOR_LISTEN?`},
		{"COORDINATOR_TIMEOUT", "1s", nil, `did you mean BULKHEAD_X_TIMEOUT?`},
		{"COORDINATOR_XYZZY", "1s", nil, `COORDINATOR_XYZZY: no such variable`},
		{"BULKHEAD_LISTEN", "1s", nil, `did you mean COORDINATOR_LISTEN?`},
		{o + "LIMTI", "9", nil, `BULKHEAD_ORDERS_LIMTI: no such variable; did you mean BULKHEAD_ORDERS_LIMIT?`},
		{o + "BREAKER_WINDOWS", "9", nil, `did you mean BULKHEAD_ORDERS_BREAKER_WINDOW?`},
		{"BULKHEAD_orders_LIMIT", "9", nil, `BULKHEAD_orders_LIMIT: no such variable; did you mean BULKHEAD_ORDERS_LIMIT?`},
		{"COORDINATOR_CONNS\nx", "9", nil, `"COORDINATOR_CONNS\nx": no such variable; did you mean COORDINATOR_CONNS?`},
		{"BULKHEAD_ORDRES_LIMIT", "9", nil, `no bulkhead "ordres"; want it added to COORDINATOR_BULKHEADS, or this removed; did you mean BULKHEAD_ORDERS_LIMIT?`},
		{"BULKHEAD_CARTS_ENV_FOO", "9", nil, `no bulkhead "carts"`},
		{"BULKHEAD_CARTS_LIMIT", "9", map[string]string{"BULKHEAD_CARTS_QUEUE": "9"}, `or this removed with 1 more BULKHEAD_CARTS_*`},
		// contradictions
		{"COORDINATOR_ADMIN_LISTEN", "127.0.0.1:8080", nil, `is a front listener too`},
		{"COORDINATOR_LISTEN", ":9901", nil, `COORDINATOR_ADMIN_LISTEN="127.0.0.1:9901": is a front listener too`},
		{o + "QUEUE_TIMEOUT", "31s", nil, `is above BULKHEAD_ORDERS_TIMEOUT=30s`},
		{o + "TIMEOUT", "500ms", nil, `default: BULKHEAD_ORDERS_QUEUE_TIMEOUT="1s": is above BULKHEAD_ORDERS_TIMEOUT=500ms`},
		{o + "BREAKER_MIN_CALLS", "33", nil, `a total hang of the backend could not open the breaker`},
		{o + "BREAKER_MIN_CALLS", "65", map[string]string{o + "TIMEOUT": "5s"}, `a total hang`},
		{o + "BREAKER_MIN_CALLS", "97", map[string]string{o + "TIMEOUT": "5s", o + "BREAKER_WINDOW": "11s"}, `a total hang`},
		{"RUNTIME_DIRECTORY", "/" + strings.Repeat("x", 70), nil, `71 bytes`},
		{"COORDINATOR_BULKHEADS", "-", nil, `COORDINATOR_BULKHEADS: want the names of the bulkheads`},
	} {
		t.Run(test.variable+"="+strings.ReplaceAll(test.value, "/", "|"), func(t *testing.T) {
			c, err := config.Load(environ(test.more, map[string]string{test.variable: test.value}), "")
			lines := mistakes(t, err)
			if len(lines) != 1 || !strings.Contains(lines[0], test.want) {
				t.Errorf("got:\n%s\nwant one line with:\n%s", strings.Join(lines, "\n"), test.want)
			}
			var table strings.Builder
			if err := c.WriteTable(&table); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(table.String(), "hush") {
				t.Errorf("a secret is shown:\n%s\n%s", err, &table)
			}
		})
	}
}

// TestMistakesOfTwo has mistakes that take two bulkheads.
func TestMistakesOfTwo(t *testing.T) {
	named := func(name string) map[string]string {
		p := "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		return map[string]string{"COORDINATOR_BULKHEADS": "orders," + name, p + "_ROUTES": "/x", p + "_BACKEND": "http://x"}
	}
	for name, test := range map[string]struct {
		env  map[string]string
		more map[string]string
		want string // empty: no mistake
	}{
		"same route":        {catalog, map[string]string{"BULKHEAD_CATALOG_ROUTES": "/api/orders"}, `BULKHEAD_CATALOG_ROUTES="/api/orders": route "/api/orders" is claimed by bulkhead orders too`},
		"other method":      {catalog, map[string]string{"BULKHEAD_CATALOG_ROUTES": "GET /api/orders/"}, ``},
		"other host":        {catalog, map[string]string{"BULKHEAD_CATALOG_ROUTES": "a.example/api/orders/"}, ``},
		"same host":         {catalog, map[string]string{"BULKHEAD_ORDERS_ROUTES": "GET A.example/x", "BULKHEAD_CATALOG_ROUTES": "GET a.example/x"}, `route "GET a.example/x" is claimed`},
		"raw":               {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw"}, ``},
		"raw around":        {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw", "BULKHEAD_CATALOG_ROUTES": "/api/orders/top"}, `PATH="raw": route "/api/orders/top" of bulkhead catalog lies inside "/api/orders/"`},
		"raw shared":        {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw", "BULKHEAD_CATALOG_ROUTES": "GET /api/orders/"}, `lies inside`},
		"raw beside":        {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw", "BULKHEAD_CATALOG_ROUTES": "/api/ordersx"}, ``},
		"raw below another": {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw", "BULKHEAD_CATALOG_ROUTES": "/"}, ``},
		"raw, other hosts":  {catalog, map[string]string{"BULKHEAD_ORDERS_PATH": "raw", "BULKHEAD_ORDERS_ROUTES": "a.example/a", "BULKHEAD_CATALOG_ROUTES": "b.example/a/b"}, ``},
		"orders-env":        {named("orders-env"), nil, `COORDINATOR_BULKHEADS="orders,orders-env": BULKHEAD_ORDERS_ENV_ROUTES would belong to orders and to orders-env`},
		"orders-env-x":      {named("orders-env-x"), nil, `would belong to orders and to orders-env-x`},
		"orders-queue":      {named("orders-queue"), nil, `BULKHEAD_ORDERS_QUEUE_TIMEOUT would belong to`},
		"orders-upgrade":    {named("orders-upgrade"), nil, `BULKHEAD_ORDERS_UPGRADE_LIMIT would belong to`},
		"orders-eu":         {named("orders-eu"), map[string]string{"BULKHEAD_ORDERS_EU_ENV_A": "1", "BULKHEAD_ORDERS_LIMIT": "8"}, ``},
		"orders-backend":    {named("orders-backend"), map[string]string{"BULKHEAD_ORDERS_BACKEND_CONN_MAX_AGE": "1m"}, ``},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(environ(test.env, test.more), "")
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if lines := mistakes(t, err); !strings.Contains(lines[0], test.want) {
				t.Errorf("got:\n%s\nwant first:\n%s", strings.Join(lines, "\n"), test.want)
			}
		})
	}
}

func TestSeveralMistakesOfOneVariable(t *testing.T) {
	_, err := config.Load(environ(map[string]string{"COORDINATOR_TRUSTED_PROXIES": "a,10.0.0.1/8,::1,::1"}), "")
	if got := mistakes(t, err); len(got) != 3 {
		t.Errorf("got %q, want three lines", got)
	}
}

// A value that cannot be read must not lead to conclusions from a zero.
func TestNoFollowingMistakes(t *testing.T) {
	_, err := config.Load(environ(map[string]string{
		"BULKHEAD_ORDERS_LIMIT": "many", "BULKHEAD_ORDERS_TIMEOUT": "soon", "BULKHEAD_ORDERS_BACKEND": "orders", "BULKHEAD_ORDERS_ROUTES": "x",
	}), "")
	if got := mistakes(t, err); len(got) != 4 {
		t.Errorf("got:\n%s\nwant four lines", strings.Join(got, "\n"))
	}
}

func TestWarnings(t *testing.T) {
	const o = "BULKHEAD_ORDERS_"
	for _, test := range []struct{ variable, value, want string }{
		{o + "SERVICE_HOST", "10.0.0.1", "Kubernetes"},
		{o + "SERVICE_PORT", "80", "Kubernetes"},
		{o + "SERVICE_PORT_HTTP", "80", "Kubernetes"},
		{o + "PORT", "tcp://10.0.0.1:80", "Kubernetes"},
		{o + "PORT_8080_TCP", "tcp://10.0.0.1:80", "Kubernetes"},
		{o + "PORT_8080_TCP_ADDR", "10.0.0.1", "Kubernetes"},
		{"COORDINATOR_SERVICE_HOST", "10.0.0.1", "Kubernetes"},
		{"BULKHEAD_CARTS_PORT_53_UDP_PROTO", "udp", "Kubernetes"},
		{"COORDINATOR_TRUSTED_PROXIES", "0.0.0.0/0", "believes whatever any client says"},
		{"COORDINATOR_CONNS_PER_CLIENT", "20001", "has no effect: it is above COORDINATOR_CONNS=20000"},
		{o + "MAX_DURATION", "1s", "before BULKHEAD_ORDERS_TIMEOUT=30s can"},
		{o + "SLOW_LOG", "31s", "has no effect: BULKHEAD_ORDERS_TIMEOUT=30s comes first"},
		{o + "WORKERS", "33", "some of them are always idle"},
		{o + "BREAKER_SLOW_CALL", "31s", "has no effect on waiting calls"},
		{o + "BREAKER_SLOW_RATIO", "0.5", "BREAKER_SLOW_CALL is off"},
		{o + "MEMORY_ENFORCE", "required", "has no effect: BULKHEAD_ORDERS_MEMORY is off"},
		{o + "STRIP_PREFIX", "/shop", "no route of the bulkhead leads there"},
	} {
		c := load(t, map[string]string{test.variable: test.value})
		if len(c.Warnings) != 1 || c.Warnings[0].Variable != test.variable || !strings.Contains(c.Warnings[0].Message, test.want) {
			t.Errorf("%s=%s: warnings %v, want one with %q", test.variable, test.value, c.Warnings, test.want)
		}
	}
}

// Settings of a journal that is not kept, or that waits for nothing, are none.
func TestJournalWarnings(t *testing.T) {
	const o = "BULKHEAD_ORDERS_"
	for _, test := range []struct{ scope, variable, value, want string }{
		{"off", "JOURNAL_SYNC", "always", "has no effect: BULKHEAD_ORDERS_JOURNAL is off"},
		{"off", "JOURNAL_HEADERS", "User-Agent", "has no effect: BULKHEAD_ORDERS_JOURNAL is off"},
		{"off", "JOURNAL_QUERY", "on", "has no effect: BULKHEAD_ORDERS_JOURNAL is off"},
		{"failures", "JOURNAL_SYNC", "always", "nothing is recorded before it is sent"},
		{"unsafe", "JOURNAL_SYNC", "always", ""},
	} {
		c := load(t, map[string]string{o + "JOURNAL": test.scope, o + test.variable: test.value})
		if test.want == "" && len(c.Warnings) == 0 {
			continue
		}
		if len(c.Warnings) != 1 || c.Warnings[0].Variable != o+test.variable || !strings.Contains(c.Warnings[0].Message, test.want) {
			t.Errorf("%s, %s=%s: warnings %v, want one with %q", test.scope, test.variable, test.value, c.Warnings, test.want)
		}
	}
}

func TestFileMistakes(t *testing.T) {
	file := write(t, "c.env", `# good lines between bad ones
COORDINATOR_BULKHEADS=orders
BULKHEAD_ORDERS_ROUTES=/a
BULKHEAD_ORDERS_BACKEND=http://x
BULKHEAD_ORDERS_ROUTES=/b
just words
BULKHEAD_ORDERS_OWNER="open
BULKHEAD_ORDERS_PORT=80
CORDINATOR_LISTEN=:80
`, 0o600)
	c, err := config.Load(nil, file)
	want := []string{
		file + ":5: BULKHEAD_ORDERS_ROUTES: set already on line 3; want one of the two",
		file + ":6: want NAME=VALUE",
		file + `:7: BULKHEAD_ORDERS_OWNER: want a closing " on the same line`,
		file + `:8: BULKHEAD_ORDERS_PORT: no such variable`,
	}
	got := mistakes(t, err)
	for i := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0].Error(), file+":9: CORDINATOR_LISTEN: ignored") ||
		!strings.HasSuffix(c.Warnings[0].Message, "did you mean COORDINATOR_LISTEN?") {
		t.Errorf("warnings %v", c.Warnings)
	}
	_, err = config.Load(environ(), file+".gone")
	if got := mistakes(t, err); !slices.Equal(got, []string{file + ".gone: cannot be read: no such file or directory"}) {
		t.Errorf("a missing file: %q", got)
	}
}
