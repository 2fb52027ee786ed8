package main

import (
	"context"
	"os"
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

// topPanics is a process of its own, which ends badly when it is asked for details.
func topPanics() {
	o := topOptions(false)
	o.Input, o.Output, o.Environ = os.Stdin, os.Stdout, os.Environ()
	o.Look = func(context.Context) (supervisor.Status, error) { return night(), nil }
	o.Do = func(context.Context, top.Action) (string, error) { return "", nil }
	o.Detail = func(supervisor.BulkheadStatus, time.Time) string { panic("no details") }
	os.Exit(exitOf(top.Run(context.Background(), o), os.Stderr))
}
