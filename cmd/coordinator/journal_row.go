package main

import (
	"fmt"
	"strconv"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor/journal"
)

// Rows are written as they come, so their columns have fixed widths.
const storyTitle = "ARRIVED (UTC)        METHOD   BULKHEAD          OUTCOME       STATUS  TOOK"

// outcomeMoods is which outcomes somebody has to look after.
var outcomeMoods = map[string]mood{
	journal.OutcomeSentUnknown: alarm, journal.OutcomePartial: watch, journal.OutcomeUndelivered: watch,
}

// writeStoryRow writes what somebody needs to choose a request, and below it how
// to ask for it.
func writeStoryRow(s *sheet, r *journal.Story) {
	outcome := r.Outcome
	if r.State == journal.InFlight {
		outcome = string(journal.InFlight)
	}
	status, took := "-", "-"
	if r.Status > 0 {
		status = strconv.Itoa(r.Status)
	}
	if r.TookUS > 0 {
		took = latency(float64(r.TookUS) / 1e6)
	}
	fmt.Fprintf(s, "%s  %-7s  %-16s  ", arrival(r).UTC().Format(time.DateTime), short(r.Method, 7), short(r.Bulkhead, 16))
	s.put(fmt.Sprintf("%-12s", short(outcome, 12)), outcomeMoods[outcome])
	fmt.Fprintf(s, "  %6s %5s\n", status, took)
	below := r.RequestID + " " + r.Path
	if r.Reason != "" {
		below += " (" + r.Reason + ")"
	}
	for _, line := range wrap(printable(below), config.Width-2) {
		s.WriteString("  " + line + "\n")
	}
}

// short is text in at most so many columns.
func short(text string, width int) string {
	runes := []rune(printable(text))
	if len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}
