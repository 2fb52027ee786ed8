package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"commerce.example/coordinator/supervisor"
)

// statusCommand is coordinator status.
type statusCommand struct {
	supervised
	Timeout  patience `default:"5s" help:"Wait at most this long for an answer."`
	Bulkhead string   `arg:"" optional:"" help:"Show this one alone, with its workers."`
}

func (c *statusCommand) Help() string {
	return "A row for each bulkhead, and below it what is not normal. Rates, percentiles and refusals are those of " +
		"the last minute. Exits with 0 whenever the supervisor answers, however it is: see /readyz for probes."
}

func (c *statusCommand) Run(t *terminal) error {
	asked, err := c.connect(t)
	if err != nil {
		return err
	}
	var status supervisor.Status
	if err := asked.get("/v1/status", time.Duration(c.Timeout), &status); err != nil {
		return err
	}
	if c.Bulkhead == "" {
		if c.JSON {
			return writeJSON(t.stdout, status)
		}
		return writeOverview(t.stdout, status, time.Now(), t.colour())
	}
	for _, b := range status.Bulkheads {
		switch {
		case b.Name != c.Bulkhead:
		case c.JSON:
			return writeJSON(t.stdout, b)
		default:
			return writeBulkhead(t.stdout, b, time.Now(), t.colour())
		}
	}
	var known []string
	for _, b := range status.Bulkheads {
		known = append(known, b.Name)
	}
	return unknownBulkhead(c.Bulkhead, known)
}

// colour reports whether output may be coloured: on a terminal, and not where
// NO_COLOR is set to anything (no-color.org).
func (t *terminal) colour() bool {
	file, ok := t.stdout.(*os.File)
	return ok && isatty.IsTerminal(file.Fd()) && t.env("NO_COLOR") == "" && t.env("TERM") != "dumb"
}

// env is a variable of the environment; of two, as in os.Getenv, the first.
func (t *terminal) env(name string) string {
	i := slices.IndexFunc(t.environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i < 0 {
		return ""
	}
	return t.environ[i][len(name)+1:]
}

// writeOverview writes every bulkhead in the order of the configuration.
func writeOverview(w io.Writer, status supervisor.Status, now time.Time, colour bool) error {
	s := &sheet{colour: colour}
	writeSupervisor(s, status, now)
	overview := table{columns: bulkheadColumns}
	for _, b := range status.Bulkheads {
		overview.rows = append(overview.rows, row{bulkheadCells(b), abnormal(b, now)})
	}
	if len(overview.rows) > 0 {
		s.WriteByte('\n')
		overview.write(s)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// writeBulkhead writes all there is to know of one bulkhead.
func writeBulkhead(w io.Writer, b supervisor.BulkheadStatus, now time.Time, colour bool) error {
	s := &sheet{colour: colour}
	overview := table{bulkheadColumns, []row{{bulkheadCells(b), everything(b, now)}}}
	overview.write(s)
	if len(b.Workers) > 0 {
		s.WriteByte('\n')
		workers := table{columns: workerColumns}
		for _, w := range b.Workers {
			workers.rows = append(workers.rows, row{workerCells(w, now), workerNotes(w)})
		}
		workers.write(s)
	}
	_, err := io.WriteString(w, s.String())
	return err
}
