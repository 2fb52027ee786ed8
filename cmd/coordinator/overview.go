package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// The words of the states are those of Status; one that is not known here is
// shown as it came.
var moods = map[string]mood{
	"starting": watch, "degraded": watch, "draining": watch, "quarantined": alarm, // bulkheads and workers
	"backoff": watch, "stopped": watch, // workers
	"open": alarm, "half_open": watch, "forced_open": alarm, "forced_closed": watch, // breakers
	"observe_closed": watch, "observe_open": watch, "observe_half_open": watch,
}

// writeSupervisor writes the lines on top: who answers, and how many are well.
func writeSupervisor(s *sheet, status supervisor.Status, now time.Time) {
	for _, line := range wrap(headText(status, now), config.Width) {
		s.put(line, moods[status.State])
		s.WriteByte('\n')
	}
	states, counts := statesOf(status)
	if len(states) == 0 {
		s.WriteString("no bulkheads\n")
		return
	}
	fmt.Fprintf(s, "%d bulkheads: ", len(status.Bulkheads))
	for i, state := range states {
		if i > 0 {
			s.WriteString(", ")
		}
		s.put(fmt.Sprintf("%d %s", counts[state], printable(state)), moods[state])
	}
	s.WriteByte('\n')
	if status.Console != "" {
		fmt.Fprintf(s, "console: %s\n", printable(status.Console))
	}
	writeJournalState(s, status.Journal)
	if by := enforcement(status); by != "" {
		fmt.Fprintf(s, "memory limits enforced by: %s\n", printable(string(by)))
	}
}

// headText is who answers.
func headText(status supervisor.Status, now time.Time) string {
	return printable(fmt.Sprintf("coordinator %s, %s%s, pid %d, on %s", status.Version, status.State, lasting(status.Since, now),
		status.Pid, strings.Join(status.Listen, ", ")))
}

// statesOf is the states that bulkheads are in, the most frequent first, and how
// many are in each.
func statesOf(status supervisor.Status) (states []string, counts map[string]int) {
	counts = map[string]int{}
	for _, b := range status.Bulkheads {
		if counts[b.State]++; counts[b.State] == 1 {
			states = append(states, b.State)
		}
	}
	slices.SortStableFunc(states, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	return states, counts
}

// writeJournalState says when requests are refused for want of a journal.
func writeJournalState(s *sheet, j *supervisor.JournalStatus) {
	if j == nil || j.Available {
		return
	}
	text := fmt.Sprintf("journal unavailable (JOURNAL_SYNC=%s): what must be recorded before it is sent is refused, %s so far; see the log",
		strings.Join(j.Unavailable, ", "), counted(int64(j.Refused), "request"))
	for _, line := range wrap(printable(text), config.Width) {
		s.put(line, alarm)
		s.WriteByte('\n')
	}
}

var bulkheadColumns = []column{
	{"BULKHEAD", false}, {"STATE", false}, {"WORKERS", true}, {"IN FLIGHT", true}, {"QUEUE", true},
	{"BREAKER", false}, {"REQ/S", true}, {"P50", true}, {"P99", true},
}

func bulkheadCells(b supervisor.BulkheadStatus) []cell {
	workers := cell{fmt.Sprintf("%d/%d", readyWorkers(b), len(b.Workers)), calm}
	switch ready := readyWorkers(b); {
	case ready == 0:
		workers.mood = alarm
	case ready < len(b.Workers):
		workers.mood = watch
	}
	return []cell{
		{printable(b.Name), calm},
		{printable(b.State), moods[b.State]},
		workers,
		{fmt.Sprintf("%d/%d", b.InFlight, b.Limit), watchIf(b.InFlight >= b.Limit)},
		{strconv.Itoa(b.QueueDepth), watchIf(b.QueueDepth > 0)},
		{breakerCell(b.Breaker.State), moods[b.Breaker.State]},
		{rate(b.RequestsPerSecond), calm},
		{percentile(b, b.P50Seconds), calm},
		{percentile(b, b.P99Seconds), calm},
	}
}

func readyWorkers(b supervisor.BulkheadStatus) int {
	n := 0
	for _, w := range b.Workers {
		if w.State == "ready" {
			n++
		}
	}
	return n
}

func watchIf(b bool) mood {
	if b {
		return watch
	}
	return calm
}

// percentile is - where there was nothing to measure.
func percentile(b supervisor.BulkheadStatus, s float64) string {
	if b.RequestsPerSecond == 0 && s == 0 {
		return "-"
	}
	return latency(s)
}

// breakerCell is the state in one word; its note, which any state but closed
// has, says the rest.
func breakerCell(state string) string {
	word, _, _ := strings.Cut(state, "_")
	if word == "half" {
		word = "half-open"
	}
	return printable(word)
}

// abnormal is what to know of b beside its row; nothing when it is well.
func abnormal(b supervisor.BulkheadStatus, now time.Time) []note {
	var notes []note
	add := func(wanted bool, label, text string, m mood) {
		if wanted {
			notes = append(notes, note{label: label, text: text, mood: m})
		}
	}
	add(b.Why != "", "why", printable(b.Why), moods[b.State])
	add(b.Drill != "", "drill", drillText(b), watch)
	add(b.Breaker.State != "closed", "breaker", breakerText(b.Breaker, now), moods[b.Breaker.State])
	add(b.Fallback != nil && b.Fallback.Since != nil, "fallback", fallbackText(b.Fallback, now), fallbackMood(b.Fallback))
	add(keysMood(b.Idempotency) != calm, "keys", keysText(b.Idempotency), keysMood(b.Idempotency))
	add(b.Adaptive != nil && !wellFound(b.Adaptive, now), "limit", limitText(b, now), watch)
	add(b.QueueDepth > 0, "queue", queueText(b), calm)
	add(b.UpgradeLimit > 0 && b.Upgrades >= b.UpgradeLimit, "upgrades", upgradesText(b), watch)
	refused := refusedText(b.Refused)
	add(refused != "", "reasons", refused, watch)
	notes = append(notes, poisonNotes(b, now)...)
	faults := faultTexts(b.Workers, now)
	for i, text := range faults {
		label := ""
		if i == 0 {
			label = "workers"
		}
		add(true, label, text, calm)
	}
	add(len(faults) > 0, "restarts", restartsText(b), calm)
	if len(notes) > 0 {
		notes = append(notes, ownerNotes(b)...)
	}
	return notes
}

// everything is all there is to know of b beside its row and its workers.
func everything(b supervisor.BulkheadStatus, now time.Time) []note {
	var notes []note
	add := func(label, text string, m mood) { notes = append(notes, note{label: label, text: text, mood: m}) }
	if b.Why != "" {
		add("why", printable(b.Why), moods[b.State])
	}
	if b.Drill != "" {
		add("drill", drillText(b), watch)
	}
	add("breaker", fmt.Sprintf("%s; in the window %d calls, %d failed, %d slow", breakerText(b.Breaker, now),
		b.Breaker.Calls, b.Breaker.Failures, b.Breaker.Slow), moods[b.Breaker.State])
	if b.Fallback != nil {
		add("fallback", fallbackText(b.Fallback, now), fallbackMood(b.Fallback))
		add("", fallbackStockText(b.Fallback), calm)
	}
	if b.Idempotency != nil {
		add("keys", keysText(b.Idempotency), keysMood(b.Idempotency))
	}
	if b.Adaptive != nil {
		add("limit", limitText(b, now), calm)
	}
	add("queue", queueText(b), calm)
	add("upgrades", upgradesText(b), calm)
	add("reasons", cmp.Or(refusedText(b.Refused), "none in the last minute"), calm)
	add("limits", limitsText(b.Limits), calm)
	notes = append(notes, poisonNotes(b, now)...)
	add("restarts", restartsText(b), calm)
	return append(notes, ownerNotes(b)...)
}

func breakerText(b supervisor.BreakerStatus, now time.Time) string {
	text := strings.ReplaceAll(b.State, "_", "-")
	switch mode, word, _ := strings.Cut(b.State, "_"); mode {
	case "forced":
		text = "forced " + word
	case "observe":
		text = "only observes, would be " + strings.ReplaceAll(word, "_", "-")
	}
	text += lasting(b.Since, now)
	if b.State == "open" && b.RetryAfterSeconds > 0 {
		text += ", probes in " + seconds(b.RetryAfterSeconds)
	}
	if b.Why != "" && b.Why != "new" {
		text += ": " + b.Why
	}
	return printable(text)
}

func drillText(b supervisor.BulkheadStatus) string {
	return printable(string(b.Drill) + ", by an operator")
}

func queueText(b supervisor.BulkheadStatus) string {
	text := fmt.Sprintf("%d of %d waiting", b.QueueDepth, b.Queue)
	if b.QueueDepth > 0 {
		text += ", the oldest for " + seconds(b.QueueOldestSeconds)
	}
	return text
}

// wellFound reports whether an adaptive limit follows how the backend answers, and
// has not been held at a bound for long.
func wellFound(a *supervisor.AdaptiveStatus, now time.Time) bool {
	held := a.AtBoundSince != nil && now.Sub(*a.AtBoundSince) >= time.Minute
	return !held && a.State != "backed_off" && a.State != "blind"
}

var limitStates = map[string]string{
	"learning": "learns what the backend takes", "following": "follows the backend", "backed_off": "backed off after timeouts",
	"blind": "more is in flight than that all the time, so it sees nothing",
}

// limitText is empty for a limit that is fixed.
func limitText(b supervisor.BulkheadStatus, now time.Time) string {
	a := b.Adaptive
	if a == nil {
		return ""
	}
	text := fmt.Sprintf("%d, between %d and %d", b.Limit, a.Least, a.Most)
	if b.LimitMode == "advise" {
		text = fmt.Sprintf("%d; auto:%d-%d would choose %d", b.Limit, a.Least, a.Most, a.Advised)
	}
	text += ": " + cmp.Or(limitStates[a.State], a.State)
	if a.AtBoundSince != nil {
		text += ", at its bound" + lasting(*a.AtBoundSince, now)
	}
	return printable(text)
}

func upgradesText(b supervisor.BulkheadStatus) string {
	return fmt.Sprintf("%d of %d connections", b.Upgrades, b.UpgradeLimit)
}

func restartsText(b supervisor.BulkheadStatus) string {
	return fmt.Sprintf("%d since the supervisor started", b.Restarts)
}

// refusedText is the reasons of the last minute; empty for none.
func refusedText(refused map[string]int) string {
	text := reasonsList(refused)
	if text == "" {
		return ""
	}
	return text + " in the last minute"
}

// reasonsList is the reasons, the most frequent first; empty for none.
func reasonsList(refused map[string]int) string {
	reasons := slices.SortedFunc(maps.Keys(refused), func(a, b string) int {
		return cmp.Or(cmp.Compare(refused[b], refused[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, reason := range reasons {
		if n := refused[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", reason, n)) // one word: never on two lines
		}
	}
	return printable(strings.Join(parts, ", "))
}

// poisonNotes is a line for each request that is refused because workers died
// with it, as forgive wants to know it; after a few, how many more there are.
func poisonNotes(b supervisor.BulkheadStatus, now time.Time) []note {
	const few = 4
	var notes []note
	for _, p := range b.Poisoned[:min(few, len(b.Poisoned))] {
		text := fmt.Sprintf("%s%s: %s %s, %d workers died with it", p.Fingerprint, lasting(p.Since, now), p.Method, p.Path, p.Deaths)
		notes = append(notes, note{text: printable(text), mood: alarm})
	}
	if more := len(b.Poisoned) - few; more > 0 {
		notes = append(notes, note{text: fmt.Sprintf("and %d more", more), mood: alarm})
	}
	if len(notes) > 0 {
		notes[0].label = "poison"
	}
	return notes
}

// faultTexts is a line for all workers that are in the same trouble: not ready,
// or not until less than an hour ago. After a few lines it says how many more
// there are.
func faultTexts(workers []supervisor.WorkerStatus, now time.Time) []string {
	type trouble struct{ state, why string }
	var order []trouble
	slots := map[trouble][]supervisor.WorkerStatus{}
	for _, w := range workers {
		recovered := w.State == "ready" && w.Why != "" && now.Sub(w.Since) < time.Hour
		if w.State == "ready" && !recovered {
			continue
		}
		same := trouble{w.State, w.Why}
		if slots[same] == nil {
			order = append(order, same)
		}
		slots[same] = append(slots[same], w)
	}
	const few = 4
	var texts []string
	for _, same := range order[:min(few, len(order))] {
		text := slotNames(slots[same]) + " " + same.state + lasting(oldest(slots[same]), now)
		switch {
		case same.state == "ready":
			text += ", before that: " + same.why
		case same.why != "":
			text += ": " + same.why
		}
		texts = append(texts, printable(text))
	}
	more := 0
	for _, same := range order[len(texts):] {
		more += len(slots[same])
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return texts
}

func slotNames(workers []supervisor.WorkerStatus) string {
	const few = 6
	if len(workers) == 1 {
		return fmt.Sprintf("slot %d", workers[0].Slot)
	}
	if len(workers) > few {
		return fmt.Sprintf("%d slots", len(workers))
	}
	names := make([]string, len(workers))
	for i, w := range workers {
		names[i] = strconv.Itoa(w.Slot)
	}
	return "slots " + strings.Join(names, ", ")
}

// oldest is when the first of workers came to its state.
func oldest(workers []supervisor.WorkerStatus) time.Time {
	first := workers[0].Since
	for _, w := range workers[1:] {
		if w.Since.Before(first) {
			first = w.Since
		}
	}
	return first
}

// ownerNotes is whom to call and where to look.
func ownerNotes(b supervisor.BulkheadStatus) []note {
	var notes []note
	if b.Owner != "" {
		notes = append(notes, note{label: "owner", text: printable(b.Owner)})
	}
	if b.Runbook != "" {
		notes = append(notes, note{label: "runbook", text: printable(b.Runbook), whole: true})
	}
	return notes
}

// lasting is " for 3s", or nothing where the beginning is not known.
func lasting(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return " for " + age(now.Sub(since))
}

var workerColumns = []column{
	{"SLOT", false}, {"STATE", false}, {"FOR", true}, {"PID", true}, {"IN FLIGHT", true}, {"REQUESTS", true},
	{"CPU", true}, {"MEMORY", true}, {"FILES", true},
}

// workerCells has - for what a worker that does not run has not, and for what
// the system does not tell.
func workerCells(w supervisor.WorkerStatus, now time.Time) []cell {
	known := func(is bool, text string) cell {
		if !is {
			text = "-"
		}
		return cell{text, calm}
	}
	return []cell{
		{strconv.Itoa(w.Slot), calm},
		{printable(w.State), moods[w.State]},
		known(!w.Since.IsZero(), age(now.Sub(w.Since))),
		known(w.Pid != 0, strconv.Itoa(w.Pid)),
		{strconv.Itoa(w.InFlight), calm},
		{tally(w.Requests), calm},
		known(w.CPUSeconds > 0, seconds(w.CPUSeconds)),
		known(w.MemoryBytes > 0, memory(w.MemoryBytes)),
		known(w.Descriptors > 0, strconv.Itoa(w.Descriptors)),
	}
}

func workerNotes(w supervisor.WorkerStatus) []note {
	var notes []note
	if w.Why != "" {
		notes = append(notes, note{label: "fault", text: printable(w.Why), mood: moods[w.State]})
	}
	if w.Version != "" {
		notes = append(notes, note{label: "version", text: printable(w.Version)})
	}
	if w.Evidence != "" {
		notes = append(notes, note{label: "evidence", text: printable(w.Evidence), whole: true})
	}
	return notes
}
