package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/sizing"
)

// sizeCommand is coordinator size.
type sizeCommand struct {
	supervised
	Bulkhead string        `arg:"" optional:"" help:"Its name; without: a line for each."`
	Window   time.Duration `placeholder:"10m" help:"Evidence of this long, up to 1h; else all there is."`
	Refuse   shareFlag     `default:"0.1%" help:"Objective: refuse at most this share."`
	WaitP99  time.Duration `name:"wait-p99" default:"50ms" help:"Objective: of those admitted, 99 in 100 wait at most this long."`

	Rate     rateFlag      `placeholder:"2x" help:"What if: so many times the arrivals, or 120/s of them."`
	Holding  time.Duration `placeholder:"300ms" help:"What if: requests held their slots for this long on average."`
	Slow     slowFlag      `placeholder:"5%:5s" help:"What if: this share of the requests held its slots for this long instead."`
	Limit    *int          `placeholder:"N" help:"What if: another limit."`
	Queue    *int          `placeholder:"N" help:"What if: another queue."`
	Replicas int           `default:"1" placeholder:"N" help:"What if: so many supervisors share the traffic."`

	Trace   string   `placeholder:"FILE" help:"Replay what record wrote, and ask no supervisor."`
	Timeout patience `default:"5s" help:"Wait at most this long for an answer."`
}

type (
	shareFlag float64
	rateFlag  struct{ sizing.Rate }
	slowFlag  struct{ sizing.Slow }
)

func (s *shareFlag) UnmarshalText(text []byte) error {
	share, err := sizing.ParseShare(string(text))
	if err == nil && (share <= 0 || share >= 1) {
		err = fmt.Errorf("%q: want a share above 0 and below 1, such as 0.1%% or 0.001", text)
	}
	*s = shareFlag(share)
	return err
}

func (r *rateFlag) UnmarshalText(text []byte) (err error) {
	r.Rate, err = sizing.ParseRate(string(text))
	return err
}

func (s *slowFlag) UnmarshalText(text []byte) (err error) {
	s.Slow, err = sizing.ParseSlow(string(text))
	return err
}

func (c *sizeCommand) Help() string {
	return "Says from what was measured at a bulkhead's limiter how much is offered to it, what its limit, queue and queue " +
		"timeout would refuse of that, and what was refused; and the smallest limit, queue and number of workers that meet " +
		"the objective. It says when arrivals are not Poisson, which the formulas assume, when model and measurement " +
		"differ, and when the backend is the bottleneck. Evidence outlives a reload, not a restart or an upgrade."
}

// Validate is called by kong before Run.
func (c *sizeCommand) Validate() error {
	const most = 1_000_000 // as in the configuration
	switch {
	case c.Window < 0 || c.Window > sizing.Longest:
		return fmt.Errorf("--window=%s: want a duration above 0 and up to %s", c.Window, sizing.Longest)
	case c.WaitP99 <= 0 || c.WaitP99 > time.Hour:
		return fmt.Errorf("--wait-p99=%s: want a duration above 0 and up to 1h", c.WaitP99)
	case c.Holding < 0 || c.Holding > time.Hour:
		return fmt.Errorf("--holding=%s: want a duration above 0 and up to 1h", c.Holding)
	case c.Slow.For > time.Hour:
		return fmt.Errorf("--slow: %s is too long: want up to 1h", c.Slow.For)
	case c.Limit != nil && (*c.Limit < 1 || *c.Limit > most):
		return fmt.Errorf("--limit=%d: want a whole number from 1 to %d", *c.Limit, most)
	case c.Queue != nil && (*c.Queue < 0 || *c.Queue > most):
		return fmt.Errorf("--queue=%d: want a whole number from 0 to %d", *c.Queue, most)
	case c.Replicas < 1 || c.Replicas > most:
		return fmt.Errorf("--replicas=%d: want a whole number from 1 to %d", c.Replicas, most)
	case c.Trace != "" && c.Window != 0:
		return errors.New("--window is for evidence of the supervisor: a trace is replayed whole")
	}
	return nil
}

func (c *sizeCommand) Run(t *terminal) error {
	if c.Trace != "" {
		return c.fromTrace(t)
	}
	asked, err := c.connect(t)
	if err != nil {
		return err
	}
	if c.Bulkhead == "" {
		return c.all(t, asked)
	}
	if err := checkBulkhead(c.Bulkhead); err != nil {
		return err
	}
	e, err := c.evidence(asked, c.Bulkhead)
	if err != nil {
		return err
	}
	q := e.Question()
	advice := c.advise(q)
	advice.breaker(e, advice.served())
	return c.write(t, advice)
}

func (c *sizeCommand) evidence(asked *client, bulkhead string) (e supervisor.BulkheadEvidence, err error) {
	path := "/v1/bulkheads/" + url.PathEscape(bulkhead) + "/evidence"
	if c.Window > 0 {
		path += "?window=" + c.Window.String()
	}
	err = namingKnown(asked.get(path, time.Duration(c.Timeout), &e), bulkhead)
	return e, err
}

// advice is what size prints: with --json as it is.
type advice struct {
	sizing.Report
	Objective supervisor.SizeObjective `json:"objective"`
	Setting   presentSetting           `json:"setting"` // what-if included
	Breaker   *breakerAdvice           `json:"breaker,omitempty"`

	present presentSetting // without
	whatIf  sizing.WhatIf
}

type presentSetting struct {
	Limit          int     `json:"limit"`
	Queue          int     `json:"queue"`
	QueueTimeoutMS float64 `json:"queue_timeout_ms"`
	Workers        int     `json:"workers"` // 0: not known
}

func (c *sizeCommand) advise(q sizing.Question) advice {
	q.Objective = sizing.Objective{Refused: float64(c.Refuse), WaitP99: c.WaitP99}
	q.WhatIf = sizing.WhatIf{Rate: c.Rate.Rate, Holding: c.Holding, Slow: c.Slow.Slow, Queue: c.Queue, Replicas: c.Replicas}
	if c.Limit != nil {
		q.WhatIf.Limit = *c.Limit
	}
	a := advice{Report: sizing.Advise(q), whatIf: q.WhatIf}
	a.Notes = append([]sizing.Note{}, a.Notes...) // [] and not null
	a.Objective = supervisor.SizeObjective{Refused: q.Objective.Refused, WaitP99: q.Objective.WaitP99.Seconds() * 1e3}
	a.present = presentOf(q.Present.Setting, q.Present.Workers)
	a.Setting = presentOf(q.WhatIf.Setting(q.Present.Setting), q.Present.Workers)
	return a
}

func presentOf(s sizing.Setting, workers int) presentSetting {
	return presentSetting{s.Limit, s.Queue, s.QueueTimeout.Seconds() * 1e3, workers}
}

// served is how many calls end per second, by prediction.
func (a *advice) served() float64 { return a.Arrivals * (1 - a.Predicted.Refused) }

// fromTrace takes all from the trace: what was measured, and the setting.
func (c *sizeCommand) fromTrace(t *terminal) error {
	file, err := os.Open(c.Trace)
	if err != nil {
		return fmt.Errorf("--trace=%s: %s; want what coordinator record wrote", c.Trace, fileCause(err))
	}
	defer file.Close()
	trace, err := sizing.ReadTrace(file)
	cut := errors.Is(err, sizing.ErrTruncated)
	switch {
	case err != nil && !cut:
		return fmt.Errorf("%s: %s; want what coordinator record wrote", c.Trace, strings.TrimPrefix(fileCause(err), "sizing: "))
	case len(trace.Visits) == 0:
		return fmt.Errorf("%s: nothing was recorded: no request came", c.Trace)
	case c.Bulkhead != "" && c.Bulkhead != trace.Header.Bulkhead:
		return usageError(fmt.Sprintf("%s was recorded at %s, not at %s", c.Trace, printable(trace.Header.Bulkhead), c.Bulkhead))
	}
	advice := c.advise(sizing.Question{
		Evidence: sizing.EvidenceOf(trace.Visits),
		Present: sizing.Present{Bulkhead: trace.Header.Bulkhead, Setting: sizing.Setting{
			Limit: trace.Header.Limit, Queue: trace.Header.Queue,
			QueueTimeout: time.Duration(trace.Header.QueueTimeout * float64(time.Millisecond)),
		}},
		Trace: trace.Visits,
	})
	if cut {
		fmt.Fprintf(t.stderr, "warning: %s has no end: its recording was cut off\n", c.Trace)
	}
	if n := trace.End.Dropped; n > 0 {
		fmt.Fprintf(t.stderr, "warning: %s lacks %d requests that were not written in time\n", c.Trace, n)
	}
	return c.write(t, advice)
}

func (c *sizeCommand) write(t *terminal, a advice) error {
	if c.JSON {
		return writeJSON(t.stdout, a)
	}
	_, err := fmt.Fprint(t.stdout, a.account(t.colour()))
	return err
}

// all is every bulkhead, computed roughly: there may be many.
func (c *sizeCommand) all(t *terminal, asked *client) error {
	var status supervisor.Status
	if err := asked.get("/v1/status", time.Duration(c.Timeout), &status); err != nil {
		return err
	}
	list := []advice{} // [] and not null
	for _, b := range status.Bulkheads {
		e, err := c.evidence(asked, b.Name)
		if err != nil {
			return err
		}
		q := e.Question()
		q.Rough = true
		a := c.advise(q)
		a.breaker(e, a.served())
		list = append(list, a)
	}
	if c.JSON {
		return writeJSON(t.stdout, list)
	}
	_, err := fmt.Fprint(t.stdout, sizeTable(list, t.colour()))
	return err
}
