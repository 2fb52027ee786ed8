package main

import (
	"fmt"
	"strings"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo/story"
)

func TestDemoUsage(t *testing.T) {
	for _, args := range []string{
		"--json", "--pace=0 --story", "--pace=11 --story", "fault", "fault orders", "fault vendor up", "fault orders sideways", "--listen",
	} {
		if code, _, stderr := coordinator(t, nil, append([]string{"demo"}, strings.Fields(args)...)...); code != exitUsage || stderr == "" {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
	if code, _, stderr := coordinator(t, nil, "demo", "fault", "orders", "up", "--dir", t.TempDir()); code != exitFailed || stderr == "" {
		t.Errorf("no demo in that folder: exit code %d, %q", code, stderr)
	}
}

// No figure makes the table wider than a terminal.
func TestDemoRowsFit(t *testing.T) {
	p := story.Phase{Name: story.Hang, What: "The orders service, process 4194304, accepts requests and answers none."}
	for _, name := range []string{"orders", "catalog", "payments"} {
		p.Bulkheads = append(p.Bulkheads, story.Figures{
			Bulkhead: name, Requests: 12_345_678, Errors: 12_345_678, P50: 12_345, P99: 99_999,
			Reasons: map[string]int{"too_many_connections": 6_172_839, "worker_unresponsive": 6_172_838, "no_worker": 1},
		})
	}
	for line := range strings.Lines(sentence(p) + rows(p, false)) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	account := &story.Account{Verdict: story.Verdict{Findings: []story.Finding{{Rule: story.RuleErrors, Text: fmt.Sprintf("%0200d", 7)}}}}
	for _, verdicts := range []string{verdict(account), verdict(&story.Account{Verdict: story.Verdict{Passed: true}})} {
		for line := range strings.Lines(verdicts) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}
