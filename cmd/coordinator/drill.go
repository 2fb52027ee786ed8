package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// drillCommand is coordinator drill.
type drillCommand struct {
	supervised
	Bulkhead string        `arg:"" help:"Its name."`
	Mode     string        `arg:"" enum:"kill,freeze,leak,backend-down,backend-slow,garbage,fallback" help:"kill, freeze, leak, backend-down, backend-slow, garbage or fallback."`
	For      time.Duration `default:"10s" help:"How long the fault lasts, 1s to 10m."`
	Share    *percent      `placeholder:"10%" help:"For mode fallback: the share of the GET requests that are compared; by default 10%."`
	Coverage *percent      `placeholder:"90%" help:"For mode fallback: the share of the repeated requests that must have a fallback; by default 90%."`
	Give     bool          `help:"For mode fallback: give the fallback to the clients of these requests, once the live answer is there."`
	Yes      bool          `help:"Do not ask."`
}

func (c *drillCommand) Help() string {
	return "Does it for real, on the system that runs: kill sends SIGKILL to the workers every second, freeze SIGSTOP to one " +
		"of them, leak has them take memory; with backend-down, backend-slow and garbage they act as if the backend were " +
		"so. All bulkheads are watched before, during and after it. Exits with 0 when the others had no error and a p99 " +
		"within 10 % or 5 ms of before, and this one recovered. Ctrl-C ends it and cleans up. fallback is no fault: it finds " +
		"what would have been given in the backend's place and compares it with the live answers, which clients go on " +
		"getting unless --give says otherwise."
}

// Validate is called by kong before Run.
func (c *drillCommand) Validate() error {
	if c.For < supervisor.MinDrill || c.For > supervisor.MaxDrill {
		return fmt.Errorf("--for=%s: want %s to %s", c.For, supervisor.MinDrill, supervisor.MaxDrill)
	}
	switch rehearses := c.rehearses(); {
	case !rehearses && (c.Share != nil || c.Coverage != nil || c.Give):
		return fmt.Errorf("--share, --coverage and --give are for mode fallback, not for %s", c.Mode)
	case c.Share != nil && *c.Share == 0:
		return errors.New("--share=0%: want more than 0% and at most 100%")
	}
	return nil
}

func (c *drillCommand) rehearses() bool {
	return supervisor.DrillMode(c.Mode) == supervisor.DrillFallback
}

func (c *drillCommand) Run(t *terminal) error {
	if err := checkBulkhead(c.Bulkhead); err != nil {
		return err
	}
	asked, err := c.connect(t)
	if err != nil {
		return err
	}
	if err := c.confirm(t, asked); err != nil {
		return err
	}
	ctx, restore := interruptible()
	defer restore()
	var report supervisor.Report
	err = asked.ask(ctx, http.MethodPost, "/v1/bulkheads/"+url.PathEscape(c.Bulkhead)+"/drill", struct {
		Mode     string   `json:"mode"`
		ForMS    int64    `json:"for_ms"`
		Share    *percent `json:"share,omitempty"`
		Coverage *percent `json:"coverage,omitempty"`
		Give     bool     `json:"give,omitempty"`
	}{c.Mode, c.For.Milliseconds(), c.Share, c.Coverage, c.Give}, c.For+supervisor.DrillOverhead, &report)
	switch {
	case ctx.Err() != nil:
		return c.interrupted(asked)
	case err != nil:
		return namingKnown(err, c.Bulkhead)
	case c.JSON:
		err = writeJSON(t.stdout, report)
	case report.DrillResult == nil:
		return &failure{report}
	default:
		_, err = fmt.Fprint(t.stdout, account(report, t.colour()))
	}
	if err == nil && report.Error != "" {
		return exitCode(exitFailed)
	}
	return err
}

// what a drill does, for who is asked to confirm it.
var drillDeeds = map[supervisor.DrillMode]string{
	supervisor.DrillKill:        "every second all its workers get SIGKILL",
	supervisor.DrillFreeze:      "one of its workers gets SIGSTOP",
	supervisor.DrillLeak:        "each of its workers takes memory until a limit acts, or 256 MiB",
	supervisor.DrillBackendDown: "its workers act as if the backend refused connections",
	supervisor.DrillBackendSlow: "its workers act as if the backend were too slow for the breaker",
	supervisor.DrillGarbage:     "its workers act as if the backend answered garbage",
	supervisor.DrillFallback:    "some of its clients are given fallbacks instead of live answers",
}

// confirm asks on a terminal for the name of the bulkhead.
func (c *drillCommand) confirm(t *terminal, asked *client) error {
	if c.Yes || c.rehearses() && !c.Give { // nobody notices that
		return nil
	}
	in, ok := t.stdin.(*os.File)
	if !ok || !isatty.IsTerminal(in.Fd()) {
		return usageError("a drill is real, and there is no terminal to confirm it on: --yes says that it is meant")
	}
	question := fmt.Sprintf("This is real. On the supervisor at %s, for %s, %s: %s. Who calls %s will see %s. Type its name to go on: ",
		asked.socket, c.For, c.Bulkhead, drillDeeds[supervisor.DrillMode(c.Mode)], c.Bulkhead, c.sight())
	fmt.Fprint(t.stderr, strings.Join(wrap(question, config.Width), "\n")+" ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if strings.TrimSpace(line) != c.Bulkhead {
		return errors.Join(errors.New("not confirmed: nothing was done"), err)
	}
	return nil
}

// sight is what clients see of it.
func (c *drillCommand) sight() string {
	if c.rehearses() {
		return "old data"
	}
	return "errors"
}

// cleanUpWithin bounds the wait for a supervisor to end a drill.
const cleanUpWithin = 15 * time.Second

// interrupted waits until the supervisor, which sees that this command has left,
// has ended the drill.
func (c *drillCommand) interrupted(asked *client) error {
	for late := time.Now().Add(cleanUpWithin); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		var status supervisor.Status
		if err := asked.get("/v1/status", time.Until(late), &status); err != nil {
			return fmt.Errorf("interrupted; whether the drill has ended is not known: %w", err)
		}
		if !drilled(status, c.Bulkhead) {
			return errors.New("interrupted: the fault has ended, and nothing is judged")
		}
	}
	return fmt.Errorf("interrupted, but %s is still drilled: see coordinator status", c.Bulkhead)
}

func drilled(status supervisor.Status, name string) bool {
	for _, b := range status.Bulkheads {
		if b.Name == name {
			return b.Drill != ""
		}
	}
	return false
}

var drillColumns = []column{{title: "BULKHEAD"}, {title: "REQUESTS", right: true}, {title: "ERRORS", right: true},
	{title: "P99 BEFORE", right: true}, {title: "DURING", right: true}, {title: "AFTER", right: true}}

// account is what a drill showed.
func account(report supervisor.Report, colour bool) string {
	r := report.DrillResult
	s := &sheet{colour: colour}
	figures := table{columns: drillColumns, rows: []row{drillRow(r.Drilled, watch)}}
	for _, f := range r.Siblings {
		figures.rows = append(figures.rows, drillRow(f, alarm))
	}
	figures.write(s)
	s.WriteByte('\n')
	say := func(m mood, format string, args ...any) {
		s.put(strings.Join(wrap(printable(fmt.Sprintf(format, args...)), config.Width-2), "\n  "), m)
		s.WriteByte('\n')
	}
	after := func(ms *float64, is, not string) {
		if ms == nil {
			say(calm, "%s", not)
			return
		}
		say(calm, "%s after %s", is, seconds(*ms/1e3))
	}
	if r.Fallback != nil {
		rehearsed(s, r.Fallback)
	} else {
		after(r.OpenedMS, "its breaker opened", "its breaker did not open")
		after(r.RecoveredMS, "as before", "not as before")
	}
	for _, text := range r.Notes {
		say(calm, "%s", text)
	}
	switch {
	case r.Verdict == supervisor.VerdictHeld && r.Fallback != nil:
		say(title, "HELD: %.1f %% of the repeated requests have a fallback, and nobody noticed (%s)", 100**r.Fallback.Coverage, seconds(report.TookMS/1e3))
	case r.Verdict == supervisor.VerdictHeld:
		say(title, "HELD: nobody but %s noticed (%s)", r.Drilled.Name, seconds(report.TookMS/1e3))
	case r.Verdict == supervisor.VerdictBroken:
		say(alarm, "BROKEN: %s", strings.Join(r.Findings, "; "))
	default:
		say(watch, "NOT JUDGED: %s", strings.Join(r.Findings, "; "))
	}
	return s.String()
}

// drillRow has errors in mood m, and below it the reasons for them.
func drillRow(f supervisor.DrillFigures, m mood) row {
	if f.Errors == 0 {
		m = calm
	}
	ms := func(p99 float64) cell { return cell{latency(p99 / 1e3), calm} }
	out := row{cells: []cell{{printable(f.Name), calm}, {strconv.Itoa(f.Requests), calm}, {strconv.Itoa(f.Errors), m},
		ms(f.P99Before), ms(f.P99During), ms(f.P99After)}}
	if f.Errors > 0 {
		out.notes = []note{{label: "errors", text: reasonsList(f.Reasons), mood: m}}
	}
	return out
}
