package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"commerce.example/coordinator/cmd/coordinator/internal/top"
	"commerce.example/coordinator/supervisor"
)

// topCommand is coordinator top.
type topCommand struct {
	envFile
	Socket  string   `placeholder:"PATH" help:"Talk to the supervisor at this unix socket."`
	Every   interval `default:"1s" help:"How long to wait between two looks."`
	Timeout patience `default:"5m" help:"Give a change up after this long."`
}

// An interval is a time between looks.
type interval time.Duration

func (i *interval) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 100*time.Millisecond || d > time.Minute {
		return fmt.Errorf("%q: want a duration from 100ms to 1m, such as 500ms or 5s", text)
	}
	*i = interval(d)
	return nil
}

func (c *topCommand) Help() string {
	return "What status shows, again every second, on the whole terminal: choose a bulkhead, look at its workers and its " +
		"breaker, restart or drain it, overrule its breaker. ? lists the keys. Nothing is changed without asking. " +
		"Colours are left out where NO_COLOR is set."
}

func (c *topCommand) Run(t *terminal) error {
	if !t.interactive() {
		return usageError("top needs a terminal; coordinator status shows the same once, and with --json to programs")
	}
	asked, err := (&supervised{envFile: c.envFile, Socket: c.Socket}).connect(t)
	if err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer restore()
	o := topOptions(t.colour())
	o.Input, o.Output, o.Environ, o.Every = t.stdin, t.stdout, t.environ, time.Duration(c.Every)
	o.Look = func(ctx context.Context) (status supervisor.Status, err error) {
		err = asked.ask(ctx, http.MethodGet, "/v1/status", nil, time.Minute, &status)
		return status, oneLine(err)
	}
	o.Do = func(ctx context.Context, a top.Action) (string, error) {
		return asked.act(ctx, a, time.Duration(c.Timeout))
	}
	return top.Run(ctx, o)
}

// interactive reports whether somebody types and sees what is written, and the
// cursor can be moved.
func (t *terminal) interactive() bool {
	for _, stream := range []any{t.stdin, t.stdout} {
		if file, ok := stream.(*os.File); !ok || !isatty.IsTerminal(file.Fd()) {
			return false
		}
	}
	return t.env("TERM") != "dumb"
}

// act has the supervisor do what an operator confirmed, and says what it did in a
// line.
func (c *client) act(ctx context.Context, a top.Action, wait time.Duration) (string, error) {
	var body any
	if a.Mode != "" {
		body = map[string]string{"mode": a.Mode}
	}
	report := supervisor.Report{}
	path := "/v1/bulkheads/" + url.PathEscape(a.Bulkhead) + "/" + a.Verb
	if err := c.ask(ctx, http.MethodPost, path, body, wait, &report); err != nil {
		return "", oneLine(namingKnown(err, a.Bulkhead))
	}
	if report.Error != "" {
		return "", oneLine(&failure{report})
	}
	return fmt.Sprintf("%s: %s (%s)", subject(report), printable(report.Did), milliseconds(report.TookMS)), nil
}

// oneLine is err as a screen can show it.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(printable(err.Error()))
}

// topOptions are how top shows what it sees: in the words of status.
func topOptions(colour bool) top.Options {
	return top.Options{
		Head: func(s supervisor.Status, now time.Time) top.Text {
			return top.Text{Text: headText(s, now), Mood: top.Mood(moods[s.State])}
		},
		Summary: topSummary,
		Columns: topColumns(),
		Notes: func(b supervisor.BulkheadStatus, now time.Time) []top.Note {
			var notes []top.Note
			for _, n := range abnormal(b, now) {
				notes = append(notes, top.Note{Label: n.label, Text: top.Text{Text: n.text, Mood: top.Mood(n.mood)}})
			}
			return notes
		},
		Detail: func(b supervisor.BulkheadStatus, now time.Time) string {
			var text strings.Builder
			_ = writeBulkhead(&text, b, now, colour) // a Builder takes everything
			return text.String()
		},
		Age: age, Rate: rate, Span: latency,
		Colour: colour,
	}
}

// topSummary is the number of bulkheads by state, in the mood of the worst.
func topSummary(status supervisor.Status) top.Text {
	if len(status.Bulkheads) == 0 {
		return top.Text{Text: "no bulkheads"}
	}
	states, counts := statesOf(status)
	worst := calm
	var parts []string
	for _, state := range states {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], printable(state)))
		if m := moods[state]; worst != alarm && m != calm {
			worst = m
		}
	}
	text := fmt.Sprintf("%d bulkheads: %s", len(status.Bulkheads), strings.Join(parts, ", "))
	if j := status.Journal; j != nil && !j.Available {
		text, worst = "JOURNAL UNAVAILABLE, what must be recorded is refused; "+text, alarm
	}
	return top.Text{Text: text, Mood: top.Mood(worst)}
}

// topColumns are those of status, and what is refused. Requests and percentiles
// are of the last seconds.
func topColumns() []top.Column {
	state := func(b supervisor.BulkheadStatus) int { return trouble[moods[b.State]] }
	open := func(b supervisor.BulkheadStatus) int { return trouble[moods[b.Breaker.State]] }
	compare := []func(a, b top.Sight) int{
		func(a, b top.Sight) int { return strings.Compare(a.Name, b.Name) },
		top.By(func(s top.Sight) int { return state(s.BulkheadStatus) }),
		top.By(func(s top.Sight) int { return len(s.Workers) - readyWorkers(s.BulkheadStatus) }),
		top.By(func(s top.Sight) float64 { return float64(s.InFlight) / float64(max(s.Limit, 1)) }),
		top.By(func(s top.Sight) int { return s.QueueDepth }),
		top.By(func(s top.Sight) int { return open(s.BulkheadStatus) }),
	}
	var columns []top.Column
	for i, c := range bulkheadColumns[:len(compare)] {
		columns = append(columns, top.Column{Title: c.title, Right: c.right, Compare: compare[i], Cell: func(s top.Sight) top.Text {
			shown := bulkheadCells(s.BulkheadStatus)[i]
			return top.Text{Text: shown.text, Mood: top.Mood(shown.mood)}
		}})
	}
	return append(columns, recentColumns()...)
}

// trouble orders moods.
var trouble = map[mood]int{calm: 0, watch: 1, alarm: 2}

func recentColumns() []top.Column {
	column := func(title string, figure func(top.Sight) float64, known func(top.Sight) bool, text func(float64) string, m func(float64) mood) top.Column {
		return top.Column{
			Title: title, Right: true,
			Compare: top.By(func(s top.Sight) float64 {
				if !known(s) {
					return -1
				}
				return figure(s)
			}),
			Cell: func(s top.Sight) top.Text {
				if !known(s) {
					return top.Text{Text: "-"}
				}
				return top.Text{Text: text(figure(s)), Mood: top.Mood(m(figure(s)))}
			},
		}
	}
	ordinary := func(float64) mood { return calm }
	rated := func(s top.Sight) bool { return s.Rates != nil }
	served := func(s top.Sight) bool { return s.Recent.Served > 0 }
	return []top.Column{
		column("REQ/S", func(s top.Sight) float64 { return s.Rates.Requests }, rated, rate, ordinary),
		column("REF/S", func(s top.Sight) float64 { return s.Rates.Refused }, rated, rate, func(n float64) mood { return watchIf(n > 0) }),
		column("P50", func(s top.Sight) float64 { return s.Recent.P50Seconds }, served, latency, ordinary),
		column("P99", func(s top.Sight) float64 { return s.Recent.P99Seconds }, served, latency, ordinary),
	}
}
