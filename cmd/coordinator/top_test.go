package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/top"
	"commerce.example/coordinator/supervisor"
)

func TestTopWantsATerminal(t *testing.T) {
	code, stdout, stderr := coordinator(t, nil, "top", "--socket", "/nowhere")
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, "coordinator status") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, _, stderr = coordinator(t, nil, "top", "--every", "1ms"); code != exitUsage || !strings.Contains(stderr, "from 100ms to 1m") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// The columns are those of status: each cell is one line, and a bad night fits on
// a terminal.
func TestTopColumns(t *testing.T) {
	columns := topColumns()
	for _, b := range append(night().Bulkheads, widest().Bulkheads...) {
		width := 2 // the mark
		for i, c := range columns {
			cell := c.Cell(top.Sight{BulkheadStatus: b, Rates: &top.Rates{Requests: b.RequestsPerSecond, Refused: 12.3}})
			if strings.ContainsAny(cell.Text, "\n\x1b") || cell.Text == "" {
				t.Errorf("%s %s: %q", b.Name, c.Title, cell.Text)
			}
			if i > 0 {
				width += 1 + max(utf8.RuneCountInString(cell.Text), utf8.RuneCountInString(c.Title))
			}
			if c.Compare == nil {
				t.Errorf("nobody can sort by %s", c.Title)
			}
		}
		if room := config.Width - width; room < 8 && b.Name != widest().Bulkheads[0].Name && b.Name != "a" {
			t.Errorf("%s leaves %d columns to its name", b.Name, room)
		}
	}
}

// What was seen once has no rates, and what nobody asked no percentiles.
func TestTopShowsOnlyWhatIsKnown(t *testing.T) {
	for _, c := range recentColumns() {
		if cell := c.Cell(top.Sight{}); cell.Text != "-" {
			t.Errorf("%s: %q", c.Title, cell.Text)
		}
	}
}

// The line on top is in the mood of the worst, and a journal that refuses is that.
func TestTopSummary(t *testing.T) {
	s := night()
	s.Journal = nil
	if got := topSummary(s); got.Text != "8 bulkheads: 6 ready, 1 degraded, 1 starting" || got.Mood != top.Mood(watch) {
		t.Errorf("%+q", got)
	}
	s.Journal = &supervisor.JournalStatus{}
	if got := topSummary(s); !strings.HasPrefix(got.Text, "JOURNAL UNAVAILABLE") || got.Mood != top.Mood(alarm) {
		t.Errorf("%+q", got)
	}
	s.Journal.Available = true
	if got := topSummary(s); strings.Contains(got.Text, "JOURNAL") {
		t.Errorf("%+q", got)
	}
}

// What top does is what the commands do, and what came of it is one line.
func TestTopActs(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	asked, err := (&supervised{Socket: f.listen(t)}).connect(&terminal{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		action     top.Action
		call, want string
	}{
		{top.Action{Bulkhead: "orders", Verb: "restart"}, "restart orders", "restart orders: 2 of 2 workers are new (1840 ms)"},
		{top.Action{Bulkhead: "orders", Verb: "drain"}, "drain orders", "drain orders: 31 requests finished (913 ms)"},
		{top.Action{Bulkhead: "catalog", Verb: "resume"}, "resume catalog", "resume catalog: takes work again (0.2 ms)"},
		{top.Action{Bulkhead: "search", Verb: "breaker", Mode: "open"}, "breaker search open", "breaker search: auto to open (10 ms)"},
	} {
		did, err := asked.act(t.Context(), test.action, time.Minute)
		if calls := f.took(); err != nil || did != test.want || !slices.Equal(calls, []string{test.call}) {
			t.Errorf("%s: %q, %v; the supervisor was asked for %q", test.action, did, err, calls)
		}
	}
	f.answer = func(_ context.Context, r supervisor.Report) supervisor.Report {
		r.Error, r.Details = "one\nworker did not start", []string{"slot 0: \x1b[2J", "slot 1"}
		return r
	}
	for _, name := range []string{"orders", "oders"} {
		if _, err := asked.act(t.Context(), top.Action{Bulkhead: name, Verb: "restart"}, time.Minute); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %q", name, err)
		}
	}
}

// topPanics is a process of its own, which ends badly when it is asked for details.
func topPanics() {
	o := topOptions(false)
	o.Input, o.Output, o.Environ = os.Stdin, os.Stdout, os.Environ()
	o.Look = func(context.Context) (supervisor.Status, error) { return night(), nil }
	o.Do = func(context.Context, top.Action) (string, error) { return "", nil }
	o.Detail = func(supervisor.BulkheadStatus, time.Time) string { panic("no details") }
	os.Exit(exitOf(top.Run(context.Background(), o), os.Stderr))
}
