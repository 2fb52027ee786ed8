package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

var now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func workers(n int, state string, since time.Time) []supervisor.WorkerStatus {
	all := make([]supervisor.WorkerStatus, n)
	for i := range all {
		all[i] = supervisor.WorkerStatus{Slot: i, State: state, Pid: 4711 + i, InFlight: 3, Since: since, CPUSeconds: 723.4, MemoryBytes: 38 << 20, Descriptors: 41, Requests: 182_003}
	}
	return all
}

// night is a bad one: each bulkhead is in another kind of trouble.
func night() supervisor.Status {
	well := func(name string) supervisor.BulkheadStatus {
		return supervisor.BulkheadStatus{
			Name: name, State: "ready", Owner: "Team " + name, Runbook: "https://runbooks.example/" + name,
			Workers: workers(2, "ready", ago(76*time.Hour)), InFlight: 3, Limit: 32, Queue: 16, UpgradeLimit: 32,
			Breaker:           supervisor.BreakerStatus{State: "closed", Mode: "auto", Since: ago(76 * time.Hour), Why: "new", Calls: 412, Failures: 1},
			RequestsPerSecond: 41.2, P50Seconds: 0.0012, P99Seconds: 0.0143, Restarts: 3,
		}
	}
	idle := well("idle")
	idle.InFlight, idle.RequestsPerSecond, idle.P50Seconds, idle.P99Seconds = 0, 0, 0, 0

	orders := well("orders")
	orders.Limits = supervisor.LimitsStatus{MemoryBytes: 512 << 20, SoftMemoryBytes: 400 << 20, Descriptors: 2048, Requests: 1_000_000,
		AgeSeconds: 86400, Enforcement: supervisor.EnforcedByCgroup2}
	orders.State, orders.Why = "degraded", "1 of 2 workers ready, breaker open"
	orders.Workers[1] = supervisor.WorkerStatus{Slot: 1, State: "quarantined", Since: ago(12 * time.Second), Why: "5 faults in 60s, the last: exit code 2"}
	orders.InFlight, orders.QueueDepth, orders.QueueOldestSeconds = 32, 16, 0.94
	orders.Breaker = supervisor.BreakerStatus{State: "open", Mode: "auto", Since: ago(3100 * time.Millisecond), RetryAfterSeconds: 1.9,
		Why: "27 of 32 calls failed (84 %, limit 50 %)", Calls: 32, Failures: 27, Slow: 4}
	orders.Refused = map[string]int{"queue_full": 412, "queue_timeout": 3, "breaker_open": 1898, "draining": 0}
	orders.RequestsPerSecond, orders.P50Seconds, orders.P99Seconds, orders.Restarts = 102, 0.31, 30, 14
	orders.Workers[1].Evidence = "/var/lib/coordinator/evidence/orders-1-20260301T025948.102Z-4712.txt"
	orders.Poisoned = []supervisor.PoisonStatus{{
		Fingerprint: "5f1c0a77d2b94e6682a1c3e4f5061728", Method: "POST", Path: "/api/orders/\x1b[2Jexport", Deaths: 2, Since: ago(20 * time.Minute),
	}}

	search := well("search")
	search.Workers[0].Since, search.Workers[0].Why, search.Restarts = ago(25*time.Minute), "killed by the kernel: out of memory", 4
	payments := well("payments")
	payments.Breaker = supervisor.BreakerStatus{State: "forced_open", Mode: "open", Since: ago(42 * time.Minute), Why: "mode set to open"}
	pricing := well("pricing")
	pricing.Breaker = supervisor.BreakerStatus{State: "observe_half_open", Mode: "observe", Since: ago(300 * time.Millisecond), Why: "5s open"}
	chat := well("chat")
	chat.Upgrades = 32
	starting := well("recommendations")
	starting.State, starting.Why = "starting", "no worker is ready yet"
	starting.Workers = workers(6, "starting", ago(2*time.Second))
	starting.Workers[3].Since = ago(3 * time.Second)
	starting.Workers = append(starting.Workers, workers(8, "stopped", time.Time{})...)

	return supervisor.Status{Version: "1.4.2", Pid: 4700, State: "ready", Since: ago(76*time.Hour + 30*time.Minute),
		Listen:    []string{"127.0.0.1:8080", "unix:/run/coordinator/front.sock"},
		Journal:   &supervisor.JournalStatus{Unavailable: []string{"process", "always"}, Refused: 1204},
		Bulkheads: []supervisor.BulkheadStatus{well("catalog"), orders, idle, search, payments, pricing, chat, starting}}
}

// widest has the widest values that are plausible, all at once.
func widest() supervisor.Status {
	b := supervisor.BulkheadStatus{
		Name: "order-history-of-the-legacy-backend-in-europe", State: "quarantined", Why: strings.Repeat("a long story ", 12),
		Owner: strings.Repeat("x", 150), Runbook: "https://runbooks.example/orders",
		Workers: workers(64, "quarantined", ago(1000*24*time.Hour)), InFlight: 9999, Limit: 9999, QueueDepth: 99999, Queue: 99999,
		QueueOldestSeconds: 86399, Upgrades: 99999, UpgradeLimit: 99999,
		Breaker: supervisor.BreakerStatus{State: "half_open", Since: ago(99 * time.Hour), Why: "1000000 of 1000000 calls were slow (100 %, limit 100 %)",
			Calls: 1000000, Failures: 1000000, Slow: 1000000},
		Poisoned: slices.Repeat([]supervisor.PoisonStatus{{
			Fingerprint: strings.Repeat("f", 32), Method: "PROPPATCH", Path: "/" + strings.Repeat("path", 60), Deaths: 1000, Since: ago(time.Hour),
		}}, 9),
		RequestsPerSecond: 123456, P50Seconds: 3600, P99Seconds: 3600, Restarts: 1 << 40, Refused: map[string]int{},
	}
	for i, reason := range supervisor.Reasons() {
		b.Refused[string(reason)] = 1000000 + i
	}
	for i := range b.Workers {
		w := &b.Workers[i]
		w.Pid, w.InFlight, w.CPUSeconds, w.MemoryBytes = 4194304, 9999, 1e8, 512<<30
		w.Descriptors, w.Requests = 1048576, 1<<40
		w.Why, w.Version = fmt.Sprintf("exit code %d: \x1b[2Jpanic: runtime error:\nindex out of range", i/3), "v0.0.0-20260817212433-ac3dfec99bb1+dirty"
	}
	b.Workers = append(b.Workers[:8:8], b.Workers[55:]...)
	other := b
	other.Name, other.State = "a", "ready"
	return supervisor.Status{Version: "v0.0.0-20260817212433-ac3dfec99bb1+dirty", Pid: 4194304, State: "draining", Since: ago(1000 * 24 * time.Hour),
		Listen:    []string{"[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535", "unix:/" + strings.Repeat("p", 99)},
		Bulkheads: []supervisor.BulkheadStatus{b, other}}
}

// shown is what write writes, which must fit on a terminal.
func shown(t *testing.T, write func(*strings.Builder) error) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > config.Width {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.HasSuffix(line, " ") || strings.ContainsRune(line, '\x1b') {
			t.Errorf("blanks at the end, or control characters: %q", line)
		}
	}
	return b.String()
}

func TestStatusGolden(t *testing.T) {
	for name, status := range map[string]supervisor.Status{"status": night(), "status-widest": widest()} {
		golden(t, name+".golden", shown(t, func(b *strings.Builder) error { return writeOverview(b, status, now, false) }))
	}
	for name, b := range map[string]supervisor.BulkheadStatus{"status-orders": night().Bulkheads[1], "status-widest-one": widest().Bulkheads[0]} {
		golden(t, name+".golden", shown(t, func(out *strings.Builder) error { return writeBulkhead(out, b, now, false) }))
	}
}

// Colours change nothing but colours, and what is well has none.
func TestStatusColours(t *testing.T) {
	var plain, coloured strings.Builder
	if err := writeOverview(&plain, night(), now, false); err != nil {
		t.Fatal(err)
	}
	if err := writeOverview(&coloured, night(), now, true); err != nil {
		t.Fatal(err)
	}
	if got := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(coloured.String(), ""); got != plain.String() {
		t.Errorf("without its colours it is\n%s", got)
	}
	for line := range strings.Lines(coloured.String()) {
		isWell, inTrouble := strings.HasPrefix(line, "catalog "), strings.HasPrefix(line, "orders ")
		if isWell && strings.Contains(line, "\x1b") || inTrouble && strings.Count(line, "\x1b[0m") != 5 {
			t.Errorf("%q", line)
		}
	}
}

func TestNoColourIntoFiles(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, out := range []*terminal{{stdout: file}, {stdout: new(strings.Builder)}} {
		if out.colour() {
			t.Errorf("colours into a %T", out.stdout)
		}
	}
}

func TestStatusWithoutBulkheads(t *testing.T) {
	got := shown(t, func(b *strings.Builder) error {
		return writeOverview(b, supervisor.Status{Version: "1", State: "starting", Pid: 2, Listen: []string{":80"}}, now, false)
	})
	if want := "coordinator 1, starting, pid 2, on :80\nno bulkheads\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatusCommand(t *testing.T) {
	f := &fakeSupervisor{status: night()}
	f.status.Since = time.Now().Add(-76*time.Hour - 30*time.Minute)
	socket := f.listen(t)
	code, stdout, stderr := coordinator(t, nil, "status", "--socket", socket)
	if code != exitDone || stderr != "" || !strings.HasPrefix(stdout, "coordinator 1.4.2, ready for 3d4h, pid 4700, on 127.0.0.1:8080,") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
	at := 0
	for _, b := range f.status.Bulkheads { // in the order of the configuration
		i := strings.Index(stdout[at:], "\n"+b.Name+" ")
		if i < 0 {
			t.Fatalf("no row of %s where it belongs:\n%s", b.Name, stdout)
		}
		at += i
	}
	code, stdout, stderr = coordinator(t, nil, "status", "orders", "--socket", socket)
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "SLOT") || strings.Contains(stdout, "catalog") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}

	var all supervisor.Status
	code, stdout, _ = coordinator(t, nil, "status", "--json", "--socket", socket)
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != exitDone || len(all.Bulkheads) != len(f.status.Bulkheads) {
		t.Errorf("exit code %d, %v:\n%s", code, err, stdout)
	}
	var one supervisor.BulkheadStatus
	code, stdout, _ = coordinator(t, nil, "status", "orders", "--json", "--socket", socket)
	if err := json.Unmarshal([]byte(stdout), &one); err != nil || code != exitDone || one.Breaker.Failures != 27 || one.Refused["queue_full"] != 412 {
		t.Errorf("exit code %d, %v:\n%s", code, err, stdout)
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		age(-time.Second):                              "0.0s",
		age(940 * time.Millisecond):                    "0.9s",
		age(9949 * time.Millisecond):                   "9.9s",
		age(9990 * time.Millisecond):                   "9s",
		age(59999 * time.Millisecond):                  "59s",
		age(time.Hour - 1):                             "59m59s",
		age(24*time.Hour - 1):                          "23h59m",
		age(24 * time.Hour):                            "1d0h",
		latency(0):                                     "0µs",
		latency(0.000999):                              "999µs",
		latency(0.0009996):                             "1.0ms",
		latency(0.00994):                               "9.9ms",
		latency(0.00996):                               "10ms",
		latency(0.9994):                                "999ms",
		latency(0.9996):                                "1.0s",
		latency(99.96):                                 "100s",
		rate(0) + rate(0.04) + rate(9.94) + rate(9.96): "0" + "0.0" + "9.9" + "10",
		rate(9999):                                     "9999",
		rate(9999.6):                                   "10.0k",
		rate(99_960):                                   "100k",
		tally(0) + " " + tally(9999):                   "0 9999",
		tally(10_000) + " " + tally(9_999_499):         "10k 9999k",
		tally(9_999_500) + " " + tally(1<<40):          "10M 1100G",
		memory(0):                                      "0.0MiB",
		memory(10 << 20):                               "10MiB",
		memory(1<<30 - 1):                              "1.0GiB",
		milliseconds(9.949):                            "9.9 ms",
		milliseconds(9.951):                            "10 ms",
		printable(" a\tb\n\x1b[31mc\u202ed\x00 "):      "a b \ufffd[31mc\ufffdd\ufffd",
		fmt.Sprintf("%q", wrap("", 5)):                 `[""]`,
		fmt.Sprintf("%q", wrap("a bcd e", 5)):          `["a bcd" "e"]`,
		fmt.Sprintf("%q", wrap("ab 123456789012", 5)):  `["ab" "12345" "67890" "12"]`,
		fmt.Sprintf("%q", wrap("ääääääa b", 5)):        `["äääää" "äa b"]`,
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
