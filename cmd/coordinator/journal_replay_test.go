package main

import (
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

func TestJournalReplayMistakes(t *testing.T) {
	state, _ := writeJournal(t)
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--rate 0", exitUsage, "--rate=0: want a number from 0.001 to 1000"},
		{"--rate 1e-12", exitUsage, "want a number from 0.001"},
		{"--rate 1001", exitUsage, "to 1000"},
		{"--rate NaN", exitUsage, "want a number from"},
		{"--failures 0", exitUsage, "--failures=0: want a whole number above 0"},
		{"--outcome done", exitUsage, "--outcome=done: want one of never_sent, sent_unknown"},
		{"--outcome=", exitUsage, "--outcome: want never_sent, sent_unknown or both"},
		{"--outcome never_set", exitUsage, "did you mean never_sent?"},
		{"--since soon", exitUsage, "want how long ago"},
		{"--since 1h --until 2h", exitUsage, "nothing is after the one and before the other"},
		{"--timeout 0", exitUsage, "want a duration above 0"},
		{"--state-dir " + state + "/none", exitFailed, "no journal in"},
		{"--socket " + state + "/none.sock", exitFailed, "no supervisor listens at"},
	} {
		args := append([]string{"journal", "replay"}, strings.Fields(test.args)...)
		if !strings.Contains(test.args, "--state-dir") {
			args = append(args, "--state-dir", state)
		}
		code, stdout, stderr := coordinator(t, []string{"HOME=" + state}, args...)
		if code != test.code || stdout != "" && test.code == exitUsage || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: exit code %d, %q, %q", test.args, code, stdout, stderr)
		}
	}
	// Without a candidate nobody is asked.
	code, stdout, stderr := coordinator(t, []string{"HOME=" + state}, "journal", "replay", "--state-dir", state, "--id", "nobody")
	if code != exitDone || stderr != "" || stdout != "no such request is in the journal\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// What was sent again is not to be repeated by its client too; each tells of the
// other.
func TestExplainTellsOfReplays(t *testing.T) {
	state, j := writeJournal(t)
	first := payment("first", "orders", "POST", supervisor.OutcomeNeverSent)
	e := begin(t, j, first)
	e.Close(first)
	for id, outcome := range map[string]supervisor.Outcome{"refused": supervisor.OutcomeRefused, "second": supervisor.OutcomeDone} {
		again := payment(id, "orders", "POST", outcome)
		again.ReplayOf, again.ReplayOfEntry = "first", e.ID()
		begin(t, j, again).Close(again)
	}
	awaitCloses(t, j, 8)
	var told struct {
		RetrySafe   bool   `json:"retry_safe"`
		RetryAdvice string `json:"retry_advice"`
		ReplayOf    string `json:"replay_of"`
		Replays     []struct {
			RequestID string `json:"request_id"`
			Outcome   string
		}
	}
	asked(t, exitDone, &told, "explain", "first", "--state-dir", state)
	if told.RetrySafe || told.RetryAdvice != "it was sent again, as second" || len(told.Replays) != 2 {
		t.Errorf("%+v", told)
	}
	told.Replays = nil
	if asked(t, exitDone, &told, "explain", "second", "--state-dir", state); told.ReplayOf != "first" || len(told.Replays) != 0 {
		t.Errorf("%+v", told)
	}
	for id, want := range map[string][]string{
		"first":  {"was sent again by journal replay, as second: done", "as refused: refused", "not safe: it was sent again, as second"},
		"second": {"was sent again by journal replay, for the request first"},
	} {
		_, stdout, _ := coordinator(t, nil, "journal", "explain", id, "--state-dir", state)
		text := strings.Join(strings.Fields(stdout), " ")
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s does not tell %q:\n%s", id, part, stdout)
			}
		}
	}
}
