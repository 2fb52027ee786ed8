package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
)

// payment is a request as a supervisor records it.
func payment(id, bulkhead, method string, outcome supervisor.Outcome) *journal.Record {
	r := &journal.Record{
		RequestID: id, Bulkhead: bulkhead, Method: method, Path: "/api/" + bulkhead + "/17", Arrived: time.Now(), TookUS: 5200,
		Attempts: []journal.Attempt{{Slot: 1, Pid: 4711, HandedUS: 40, Stage: "answered", TookUS: 4900}},
		Outcome:  string(outcome), Status: 200, BytesOut: 456,
	}
	if outcome == supervisor.OutcomeSentUnknown {
		r.Status, r.Reason, r.Attempts[0].Stage, r.Attempts[0].Fault = 502, "worker_died", "sent", "worker_died"
	}
	r.RetrySafe = method == "GET" || outcome == supervisor.OutcomeNeverSent
	return r
}

// writeJournal records some requests in a state directory: the last one is never
// closed. Its journal is closed unless it is returned.
func writeJournal(t *testing.T) (state string, j *journal.Journal) {
	t.Helper()
	state = t.TempDir()
	j, err := journal.Open(filepath.Join(state, journalFolder), journal.Options{Scope: map[string]string{"orders": "unsafe", "catalog": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := j.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, r := range []*journal.Record{
		payment("paid", "orders", "POST", supervisor.OutcomeDone),
		payment("lost", "orders", "POST", supervisor.OutcomeSentUnknown),
		payment("twice", "orders", "POST", supervisor.OutcomeNeverSent),
		payment("twice", "orders", "POST", supervisor.OutcomeDone),
		payment("looked", "catalog", "GET", supervisor.OutcomePartial),
	} {
		begin(t, j, r).Close(r)
	}
	awaitCloses(t, j, 5)
	begin(t, j, payment("waits", "orders", "POST", ""))
	return state, j
}

// awaitCloses waits until n closes are on disk.
func awaitCloses(t *testing.T, j *journal.Journal, n uint64) {
	t.Helper()
	for begun := time.Now(); j.Stats().Closes < n; {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d closes, want %d", j.Stats().Closes, n)
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}

func begin(t *testing.T, j *journal.Journal, r *journal.Record) *journal.Entry {
	t.Helper()
	intent := *r
	intent.Outcome, intent.Reason, intent.Status, intent.TookUS = "", "", 0, 0
	e, err := j.Begin(context.Background(), &intent)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// deadCopy is the state directory after a SIGKILL: a copy has no lock.
func deadCopy(t *testing.T, state string) string {
	t.Helper()
	dead := t.TempDir()
	if err := os.CopyFS(dead, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	return dead
}

// asked is what journal --json prints.
func asked(t *testing.T, code int, into any, args ...string) {
	t.Helper()
	got, stdout, stderr := coordinator(t, nil, append([]string{"journal"}, append(args, "--json")...)...)
	if got != code || stderr != "" {
		t.Fatalf("%v: exit code %d, want %d, stderr %q", args, got, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		t.Fatalf("%v: %v in %s", args, err, stdout)
	}
}

type answer struct {
	RequestID string `json:"request_id"`
	Known     bool
	Bulkhead  *string
	Method    *string
	Outcome   *string
	Reason    *string
	RetrySafe *bool `json:"retry_safe"`
	State     string
	Attempts  []journal.Attempt
	Earlier   []answer
	Spans     struct {
		Complete []journal.Span
		Up, Down []journal.Span
		Scope    map[string]string
	}
}

func (a *answer) String() string {
	if a.Outcome == nil || a.Reason == nil || a.Bulkhead == nil || a.Method == nil || a.RetrySafe == nil || a.Attempts == nil {
		return fmt.Sprintf("%s: members are missing", a.RequestID)
	}
	return fmt.Sprintf("%s %s %s %q %q %t %s %d", a.RequestID, *a.Method, *a.Bulkhead, *a.Outcome, *a.Reason, *a.RetrySafe, a.State, len(a.Attempts))
}

func TestJournalExplainJSON(t *testing.T) {
	state, _ := writeJournal(t)
	for dir, waits := range map[string]string{
		state: `waits POST orders "" "" false in_flight 1`, deadCopy(t, state): `waits POST orders "sent_unknown" "" false unrecorded 1`,
	} {
		for id, want := range map[string]string{
			"paid": `paid POST orders "done" "" false closed 1`, "lost": `lost POST orders "sent_unknown" "worker_died" false closed 1`,
			"looked": `looked GET catalog "partial" "" true closed 1`, "twice": `twice POST orders "done" "" false closed 1`, "waits": waits,
		} {
			var a answer
			asked(t, exitDone, &a, "explain", id, "--state-dir", dir)
			if a.String() != want || !a.Known || len(a.Spans.Up) != 1 {
				t.Errorf("%s, want %s (%+v)", &a, want, a.Spans)
			}
			if earlier := id == "twice"; earlier != (len(a.Earlier) == 1) || earlier && a.Earlier[0].String() != `twice POST orders "never_sent" "" true closed 1` {
				t.Errorf("%s: earlier %+v", id, a.Earlier)
			}
		}
	}
	var a answer
	asked(t, exitFailed, &a, "explain", "nobody", "--state-dir", state)
	if a.Known || a.Outcome != nil || len(a.Spans.Complete) != 1 || a.Spans.Scope["orders"] != "unsafe" {
		t.Errorf("%+v", a)
	}
	code, stdout, stderr := coordinator(t, nil, "journal", "explain", "nobody", "--state-dir", state)
	if code != exitFailed || stderr != "" || !strings.Contains(stdout, "No request with the id nobody is in the journal.") || !strings.Contains(stdout, "none of that id was accepted") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
	code, stdout, _ = coordinator(t, nil, "journal", "explain", "twice", "--state-dir", state)
	if code != exitDone || !strings.HasPrefix(stdout, "2 requests had the id twice.\n\nPOST /api/orders/17 on ") || strings.Count(stdout, "Repeating it is") != 2 {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestJournalFind(t *testing.T) {
	state, _ := writeJournal(t)
	for args, want := range map[string]string{
		"":                  "paid lost twice twice looked waits",
		"--bulkhead orders": "paid lost twice twice waits",
		"--bulkhead orders --outcome sent_unknown --since 1h": "lost",
		"--reason worker_died":                                "lost",
		"--method get":                                        "looked",
		"--status 5xx":                                        "lost",
		"--status 200 --limit 2":                              "paid twice",
		"--state in_flight":                                   "waits",
		"--until 1h":                                          "",
		"--since 2126-11-21":                                  "",
		"--since 7d --until 2126-11-21T00:00:00Z --limit 1": "paid",
	} {
		flags := append([]string{"journal", "find", "--json"}, strings.Fields(args)...)
		code, stdout, stderr := coordinator(t, []string{"COORDINATOR_STATE_DIR=" + state}, flags...)
		var ids []string
		for line := range strings.Lines(stdout) {
			var a answer
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, a.RequestID)
		}
		if got := strings.Join(ids, " "); code != exitDone || stderr != "" || got != want {
			t.Errorf("%s: exit code %d, %q, want %q; stderr %q", args, code, got, want, stderr)
		}
	}
	code, stdout, _ := coordinator(t, nil, "journal", "find", "--state-dir", state, "--outcome", "refused")
	if code != exitDone || stdout != "no such request is in the journal\n" {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	code, stdout, _ = coordinator(t, nil, "journal", "tail", "--state-dir", state, "-n", "2")
	if code != exitDone || strings.Count(stdout, "\n") != 5 || !strings.HasPrefix(stdout, storyTitle+"\n") || !strings.Contains(stdout, "  looked /api/catalog/17\n") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestJournalCountsAndVerifies(t *testing.T) {
	state, _ := writeJournal(t)
	var sum journal.Summary
	asked(t, exitDone, &sum, "stats", "--state-dir", state)
	if sum.Stories != 6 || sum.InFlight != 1 || sum.Outcomes["orders"]["done"] != 2 || sum.Outcomes["catalog"]["partial"] != 1 {
		t.Errorf("%+v", sum)
	}
	var v struct {
		OK bool
		journal.Verification
	}
	asked(t, exitDone, &v, "verify", "--state-dir", state)
	if !v.OK || v.Damaged != 0 || v.Records < 12 {
		t.Errorf("%+v", v)
	}
	dead := deadCopy(t, state)
	segments, _ := filepath.Glob(filepath.Join(dead, journalFolder, "*.jsonl"))
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	text[strings.Index(string(text), `"paid"`)+2] ^= 4
	if err := os.WriteFile(segments[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	asked(t, exitFailed, &v, "verify", "--state-dir", dead)
	if v.OK || v.Damaged != 1 || v.Damage[0].Segment != filepath.Base(segments[0]) {
		t.Errorf("%+v", v)
	}
	code, stdout, stderr := coordinator(t, nil, "journal", "verify", "--state-dir", dead)
	if code != exitFailed || stderr != "" || !strings.Contains(stdout, "DAMAGED in 1 place; all else is whole\n") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
}

func TestJournalReconcile(t *testing.T) {
	state, _ := writeJournal(t)
	list := filepath.Join(t.TempDir(), "theirs.csv")
	if err := os.WriteFile(list, []byte("amount,request_id\n5,paid\n6,lost\n7,twice\n8,stranger\n8,paid\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r struct {
		IDs, Known int
		Counts     map[string]int
		Requests   []struct {
			answer
			Happened string
		}
	}
	happened := func() string {
		var words []string
		for _, item := range r.Requests {
			words = append(words, item.RequestID+" "+item.Happened)
		}
		return strings.Join(words, ", ")
	}
	asked(t, exitDone, &r, "reconcile", list, "--state-dir", state)
	if r.IDs != 4 || r.Known != 3 || r.Counts["done"] != 2 || r.Counts[notInList] != 2 || len(r.Counts) != len(happenings) {
		t.Errorf("%+v", r)
	}
	if got := happened(); got != "lost sent_unknown, twice never_sent, stranger not_in_journal, paid done, twice done" {
		t.Error(got)
	}
	asked(t, exitDone, &r, "reconcile", list, "--ours", "--bulkhead", "catalog", "--state-dir", state)
	if got := happened(); !strings.Contains(got, "looked not_in_list") || strings.Contains(got, "waits") {
		t.Error(got)
	}
	var out, errs strings.Builder
	in := strings.NewReader(`{"request_id":"paid"}` + "\n" + `{"id":"stranger"}`)
	if code := run([]string{"journal", "reconcile", "-", "--state-dir", state}, nil, in, &out, &errs); code != exitDone ||
		!strings.HasPrefix(out.String(), "2 ids in the list, 1 of them in the journal\n") || !strings.HasSuffix(out.String(), "\nnot_in_journal\nstranger\n") {
		t.Errorf("exit code %d, %s\n%s", code, errs.String(), out.String())
	}
}

func TestJournalMistakes(t *testing.T) {
	state, _ := writeJournal(t)
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, journalFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(empty, "list.json")
	if err := os.WriteFile(bad, []byte(`{"id":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"explain x --state-dir " + t.TempDir(), exitFailed, "no journal in "},
		{"verify --state-dir " + empty, exitFailed, "no coordinator has written a journal yet"},
		{"find --env-file " + filepath.Join(empty, "none.env"), exitUsage, "none.env"},
		{"find --outcome sent_unknwon", exitUsage, "did you mean sent_unknown?"},
		{"find --reason worker_dyed", exitUsage, "worker_died"},
		{"find --status 1000", exitUsage, "5xx"},
		{"find --since yesterday", exitUsage, "want how long ago"},
		{"find --since 1h --until 2h --state-dir " + state, exitUsage, "nothing is after"},
		{"find --limit=-1", exitUsage, "--limit=-1"},
		{"find --state open", exitUsage, "in_flight"},
		{"tail -n 0", exitUsage, "from 1 to 10000"},
		{"reconcile " + bad + " --state-dir " + state, exitFailed, "item 1 of the list"},
		{"reconcile " + filepath.Join(empty, "none") + " --state-dir " + state, exitFailed, "no such file"},
		{"reconcile " + empty + " --state-dir " + state, exitFailed, "is a directory"},
		{"reconcile - --state-dir " + state, exitFailed, "the list has no ids"},
		{"explain", exitUsage, "request-id"},
		{"", exitUsage, "journal"},
	} {
		code, stdout, stderr := coordinator(t, []string{"HOME=" + empty}, append([]string{"journal"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", c.args, code, c.code, stdout, stderr)
		}
	}
	if os.Getuid() == 0 {
		return // who may read all
	}
	if err := os.Chmod(filepath.Join(empty, journalFolder), 0); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := coordinator(t, nil, "journal", "verify", "--state-dir", empty); code != exitFailed || !strings.Contains(stderr, "be the user that the supervisor runs as") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// A reader that has enough ends the command without a word, as of any other.
func TestJournalFindIntoHead(t *testing.T) {
	state, j := writeJournal(t)
	for i := range 2000 { // more than a pipe holds
		j.Write(payment(fmt.Sprintf("many-%d", i), "orders", "GET", supervisor.OutcomeDone))
	}
	awaitCloses(t, j, 2005)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "journal", "find", "--json", "--state-dir", state)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReaderSize(out, 16).ReadString('\n')
	if err != nil || !strings.Contains(line, `"request_id":"paid"`) {
		t.Errorf("%q, %v", line, err)
	}
	out.Close()
	if err := cmd.Wait(); err == nil || ctx.Err() != nil || stderr.Len() > 0 {
		t.Errorf("%v, %v: %s", err, ctx.Err(), stderr.String())
	}
}

func TestJournalTailFollows(t *testing.T) {
	state, j := writeJournal(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "journal", "tail", "--follow", "-n", "1", "--json", "--bulkhead", "orders", "--state-dir", state)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i, id := range []string{"twice", "next-1", "next-2"} {
		if i > 0 {
			r := payment(id, "orders", "POST", supervisor.OutcomeDone)
			begin(t, j, r).Close(r)
		}
		var a answer
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &a) != nil || a.RequestID != id {
			t.Fatalf("%q, want %s", lines.Text(), id)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if rest := lines.Scan(); rest {
		t.Errorf("and %s", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}

var journalDay = time.Date(2026, 11, 21, 6, 31, 2, 123e6, time.UTC)

// tales are requests with every kind of end.
func tales() []*journal.Story {
	record := func(id, method string, outcome supervisor.Outcome) *journal.Story {
		return &journal.Story{State: journal.Closed, Segment: "journal-00000007-20261121T060000.000Z.jsonl", Offset: 48_123, Record: journal.Record{
			Entry: "5f1c0a77d2b9.812", At: journalDay.Add(3 * time.Second), RequestID: id, Bulkhead: "orders", Method: method,
			Path: "/api/orders/17", Route: "/api/orders/", Arrived: journalDay, QueueUS: 12_400, TookUS: 1_204_000, Client: "0123456789abcdef",
			Attempts: []journal.Attempt{{Slot: 1, Pid: 4711, Generation: 3, HandedUS: 12_440, Stage: "answered", TookUS: 4_900}},
			Outcome:  string(outcome), Status: 200, BytesOut: 456,
		}}
	}
	lost := record("01a1fb65-108b-7c0b-861f-e88143c4c867", "POST", supervisor.OutcomeSentUnknown)
	lost.Reason, lost.Status, lost.BytesOut = "worker_died", 502, 0
	lost.Attempts[0].Stage, lost.Attempts[0].Fault = "sent", "worker_died"
	retried := record("retried", "GET", supervisor.OutcomeDone)
	retried.RetrySafe, retried.QueueUS, retried.Query = true, 0, "page=2&secret=no"
	retried.Attempts = append([]journal.Attempt{{Slot: 0, Pid: 4710, HandedUS: 40, Stage: "taken", Fault: "worker_died", TookUS: 900_000}}, retried.Attempts...)
	retried.Attempts[1].HandedUS = 900_200
	cut := record("undelivered-one", "POST", supervisor.OutcomeUndelivered)
	cut.Reason, cut.Status = "client_gone", 0
	refused := record("refused-one", "POST", supervisor.OutcomeRefused)
	refused.Attempts, refused.Status, refused.BytesOut, refused.Reason, refused.RetrySafe = nil, 503, 0, "queue_full", true
	recovered := record("recovered-one", "POST", supervisor.OutcomeSentUnknown)
	recovered.By, recovered.Status, recovered.TookUS, recovered.Attempts[0].Stage = journal.ByRecovery, 0, 0, ""
	waits := record("waits", "POST", "")
	waits.State, waits.Status, waits.TookUS, waits.Attempts[0].Stage, waits.Attempts[0].TookUS = journal.InFlight, 0, 0, "", 0
	gone := record("gone", "POST", supervisor.OutcomeSentUnknown)
	gone.State, gone.Status, gone.TookUS, gone.Attempts[0].Stage = journal.Unrecorded, 0, 0, ""
	wide := record(strings.Repeat("i", 256), "PROPPATCHES", supervisor.OutcomePartial)
	wide.Bulkhead, wide.Path, wide.Reason = "order-history-of-the-legacy-backend-in-europe", "/"+strings.Repeat("path\x1b[2J", 60), "backend_unreachable"
	wide.Attempts[0].Fault = strings.Repeat("a long story ", 12)
	stale := record("stale-one", "GET", supervisor.OutcomeNeverSent)
	stale.Reason, stale.Fallback, stale.RetrySafe = "backend_refused", "stale", true
	stale.Attempts[0].Stage, stale.Attempts[0].Fault = "taken", "backend_refused"
	return []*journal.Story{lost, retried, cut, refused, recovered, waits, gone, wide, stale}
}

func TestJournalGolden(t *testing.T) {
	at := func(minutes int) time.Time { return journalDay.Add(time.Duration(minutes) * time.Minute) }
	spans := &journal.Spans{
		Since: at(-90), Scope: map[string]string{"orders": "unsafe", "catalog": "off", "search": "failures"},
		Up:   []journal.Up{{Run: "a", Pid: 7, From: at(-90), To: at(-30), End: "died"}, {Run: "b", Pid: 8, From: at(-20), To: at(0), End: "stopped"}},
		Down: []journal.Down{{From: at(-30), To: at(-20)}},
		Gaps: []journal.Gap{
			{From: at(-80), To: at(-79), Why: "damage", Segment: "journal-00000007-20261121T060000.000Z.jsonl", Offset: 4711, Lost: 210},
			{From: at(-70), To: at(-69), Why: "dropped", Lost: 12}, {From: at(-60), To: at(-59), Why: "refused", Lost: 3},
			{From: at(-50), To: at(-49), Why: "segment_missing"},
		},
	}
	write := func(name string, f func(b *strings.Builder) error) { golden(t, "journal-"+name+".golden", shown(t, f)) }
	write("explain", func(b *strings.Builder) error {
		for _, s := range tales() {
			if err := writeExplanation(b, &journal.Explanation{RequestID: s.RequestID, Stories: []*journal.Story{s}, Spans: spans}, false); err != nil {
				return err
			}
			b.WriteString("\n----\n")
		}
		return nil
	})
	write("unknown", func(b *strings.Builder) error {
		return writeExplanation(b, &journal.Explanation{RequestID: "01a1fb65-108b-7c0b-861f-e88143c4c867", Spans: spans}, false)
	})
	write("list", func(b *strings.Builder) error {
		out := newStoryWriter(&terminal{stdout: b}, false)
		for _, s := range tales() {
			if err := out.story(s); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	write("stats", func(b *strings.Builder) error {
		return writeSummary(b, &journal.Summary{
			Segments: 3, Bytes: 40 << 20, Oldest: at(-90), Newest: at(0), Stories: 123_456, InFlight: 3, Unrecorded: 1, Recovered: 12,
			Outcomes: map[string]map[string]int64{
				"orders": {"done": 120_000, "sent_unknown": 14, "refused": 3000, "of_later": 2}, "order-history-of-the-legacy-backend": {"undelivered": 1_000_000},
			},
		}, false)
	})
	write("verify", func(b *strings.Builder) error {
		return writeVerification(b, &journal.Verification{
			Segments: 3, Bytes: 40 << 20, Records: 123_456, Foreign: 2, Damaged: 2, Torn: 1, Unrecorded: 1,
			Damage: []journal.Damage{
				{Segment: "journal-00000007-20261121T060000.000Z.jsonl", Offset: 4711, Bytes: 210},
				{Segment: "journal-00000008-20261121T070000.000Z.jsonl", Offset: 9000, Bytes: 1, Missing: true},
				{Segment: "journal-00000009-20261121T080000.000Z.jsonl", Offset: 9, Bytes: 4, Torn: true},
			},
		}, false)
	})
	write("reconcile", func(b *strings.Builder) error {
		r := &reconciliation{IDs: 9, Known: 8, Counts: map[string]int{notInJournal: 1, notInList: 40, "sent_unknown": 3, "done": 1}, Spans: told{spans, spans.Complete()}}
		for _, s := range tales() {
			r.Requests = append(r.Requests, reconciledItem{s.RequestID, happened(&journal.Match{Side: journal.Both, Story: s}), newToldStory(s)})
		}
		r.Requests = append(r.Requests, reconciledItem{"stranger", notInJournal, nil})
		slices.SortStableFunc(r.Requests, func(a, b reconciledItem) int { return strings.Compare(a.Happened, b.Happened) })
		return new(reconcileCommand).write(&terminal{stdout: b}, r)
	})
}
