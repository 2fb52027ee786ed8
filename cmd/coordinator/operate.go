package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
)

// operation is the flags of every command that changes something.
type operation struct {
	supervised
	Timeout patience `default:"5m" help:"Give up after this long."`
}

// onBulkhead is a command to one bulkhead.
type onBulkhead struct {
	operation
	Bulkhead string `arg:"" help:"Its name."`
}

type (
	restartCommand struct{ onBulkhead }
	drainCommand   struct{ onBulkhead }
	resumeCommand  struct{ onBulkhead }
	resizeCommand  struct {
		onBulkhead
		Workers *int `placeholder:"N" help:"Processes."`
		Limit   *int `placeholder:"N" help:"Requests that may be in flight at a time, over the whole pool; a limit that follows the backend stays at it."`
	}
	breakerCommand struct {
		onBulkhead
		Mode string `arg:"" enum:"auto,open,closed,observe" help:"auto, open (refuse all), closed (admit all) or observe (count only)."`
	}
	forgiveCommand struct {
		onBulkhead
		Fingerprint string `arg:"" optional:"" help:"Of the request, as status shows it; without: all."`
	}
	reloadCommand  struct{ operation }
	upgradeCommand struct{ operation }
)

func (c *restartCommand) Help() string {
	return "Starts each new worker, proves it ready, shifts the traffic, and drains the old one. A quarantine does not keep it from that."
}

func (c *drainCommand) Help() string {
	return "The bulkhead takes no new work and finishes what is in flight, until resume."
}

func (c *resizeCommand) Help() string { return lastsUntilReload }

func (c *breakerCommand) Help() string { return lastsUntilReload }

func (c *forgiveCommand) Help() string {
	return "A request that two workers died with is refused as poison_request for an hour. Forgive it when the cause is repaired: " +
		"it is suspected anew if another worker dies with it."
}

func (c *reloadCommand) Help() string {
	return "The supervisor reads its configuration again. If there is any mistake, nothing changes."
}

func (c *upgradeCommand) Help() string {
	return "The new process takes over the listening sockets once its workers are ready; the old one drains and ends. " +
		"No connection is lost. If the new one does not get ready, the old one goes on."
}

const lastsUntilReload = "Lasts until the next reload: the configuration is the place for what shall stay."

func (c *restartCommand) Run(t *terminal) error { return c.command(t, "restart", nil) }
func (c *drainCommand) Run(t *terminal) error   { return c.command(t, "drain", nil) }
func (c *resumeCommand) Run(t *terminal) error  { return c.command(t, "resume", nil) }

// Validate is called by kong before Run.
func (c *resizeCommand) Validate() error {
	const maxLimit = 1_000_000 // as in the configuration
	senseless := func(n *int, most int) bool { return n != nil && (*n < 1 || *n > most) }
	switch {
	case c.Workers == nil && c.Limit == nil:
		return errors.New("want --workers N, --limit N or both")
	case senseless(c.Workers, supervisor.MaxWorkers):
		return fmt.Errorf("--workers=%d: want a whole number from 1 to %d", *c.Workers, supervisor.MaxWorkers)
	case senseless(c.Limit, maxLimit):
		return fmt.Errorf("--limit=%d: want a whole number from 1 to %d", *c.Limit, maxLimit)
	}
	return nil
}

func (c *resizeCommand) Run(t *terminal) error {
	return c.command(t, "resize", struct {
		Workers *int `json:"workers,omitempty"`
		Limit   *int `json:"limit,omitempty"`
	}{c.Workers, c.Limit})
}

func (c *breakerCommand) Run(t *terminal) error {
	return c.command(t, "breaker", map[string]string{"mode": c.Mode})
}

func (c *forgiveCommand) Run(t *terminal) error {
	return c.command(t, "forgive", map[string]string{"fingerprint": c.Fingerprint})
}

func (c *reloadCommand) Run(t *terminal) error { return c.run(t, "reload", "/v1/reload", nil) }

func (c *upgradeCommand) Run(t *terminal) error { return c.run(t, "upgrade", "/v1/upgrade", nil) }

// command has the supervisor do one thing to the bulkhead.
func (c *onBulkhead) command(t *terminal, name string, body any) error {
	if err := checkBulkhead(c.Bulkhead); err != nil {
		return err
	}
	return namingKnown(c.run(t, name, "/v1/bulkheads/"+url.PathEscape(c.Bulkhead)+"/"+name, body), c.Bulkhead)
}

// checkBulkhead refuses a name that a path would lose.
func checkBulkhead(name string) error {
	if strings.Trim(name, ".") == "" {
		return usageError(fmt.Sprintf("%q is no name of a bulkhead; coordinator status lists them", name))
	}
	return nil
}

// namingKnown is err, or for an unknown bulkhead one that lists the known ones.
func namingKnown(err error, bulkhead string) error {
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Type == supervisor.UnknownBulkheadType {
		return unknownBulkhead(bulkhead, refused.Known)
	}
	return err
}

func unknownBulkhead(name string, known []string) error {
	if len(known) == 0 {
		return usageError(fmt.Sprintf("no bulkhead %q: this supervisor has none", name))
	}
	return usageError(fmt.Sprintf("no bulkhead %q; known: %s%s", name, strings.Join(known, ", "), config.DidYouMean(config.Nearest(name, known))))
}

// run has the supervisor do something and says what it did.
func (o *operation) run(t *terminal, name, path string, body any) error {
	c, err := o.connect(t)
	if err != nil {
		return err
	}
	report := supervisor.Report{}
	if err := c.change(path, body, time.Duration(o.Timeout), &report); err != nil {
		return err
	}
	if report.Action == "" {
		report.Action = name
	}
	if o.JSON {
		if err := writeJSON(t.stdout, report); err != nil {
			return err
		}
		if report.Error != "" {
			return exitCode(exitFailed)
		}
		return nil
	}
	if report.Error != "" {
		return &failure{report}
	}
	_, err = fmt.Fprintf(t.stdout, "%s: %s (%s)%s\n", subject(report), printable(report.Did), milliseconds(report.TookMS), details(report))
	return err
}

// A failure is a report of something that did not succeed.
type failure struct{ report supervisor.Report }

func (f *failure) Error() string {
	text := fmt.Sprintf("%s failed after %s: %s", subject(f.report), milliseconds(f.report.TookMS), printable(f.report.Error))
	if f.report.Did != "" {
		text += "\n  done before: " + printable(f.report.Did)
	}
	return text + details(f.report)
}

// subject is what was done to whom, with at most a few names.
func subject(r supervisor.Report) string {
	const few = 4
	switch n := len(r.Bulkheads); {
	case n == 0:
		return printable(r.Action)
	case n > few:
		return fmt.Sprintf("%s of %d bulkheads", printable(r.Action), n)
	}
	return printable(r.Action + " " + strings.Join(r.Bulkheads, ", "))
}

// details is a line each, indented, after what precedes them.
func details(r supervisor.Report) string {
	var b strings.Builder
	for _, line := range r.Details {
		b.WriteString("\n  " + printable(line))
	}
	return b.String()
}
