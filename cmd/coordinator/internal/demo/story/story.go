// Package story plays the incident that the coordinator is for, on real processes
// under open-loop load, and judges what it measured.
//
// The orders service hangs. Its breaker opens, its workers are killed, the service
// is started again, the breaker closes. Catalog and payments have the same load all
// the while, and must notice nothing.
//
// # The verdict
//
// Judge has the rules; it is a pure function of what was measured. An error of a
// sibling is a failure of the bulkheads, and so is a 99th percentile more than 10 %
// and more than 5 ms above the sibling's own while orders is well. An incident that
// orders did not feel is a failure too, for it proves nothing.
//
// # A busy machine
//
// Percentiles also move when the machine has no time for the processes. A metronome
// in the measuring process, which nothing of the coordinator's can delay, tells the
// two apart: where it missed its beat as well, the measurement is void. That is no
// pass; the story has to be played again.
package story

import (
	"context"
	"fmt"
	"slices"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/supervisor"
)

// The phases, in order. They follow a warm-up that is not judged.
const (
	Baseline  = "baseline"  // all is well
	Hang      = "hang"      // orders hangs, its breaker is closed
	Open      = "open"      // its breaker is open
	Killed    = "killed"    // and its workers were killed
	Repair    = "repair"    // orders answers, its breaker is not closed yet
	Recovered = "recovered" // all is well again
)

// The usual lengths of the phases that end by the clock, and what the others have.
const (
	warmUp       = 2 * time.Second
	baselineFor  = 6 * time.Second
	openFor      = 4 * time.Second
	killedFor    = 5 * time.Second
	recoveredFor = 6 * time.Second

	baselines = 4 // at most

	OpensWithin  = demo.Timeout + time.Second // of the hang
	ClosesWithin = demo.OpenFor + time.Second // of the repair

	pollEvery = 25 * time.Millisecond
	reviveIn  = 2 * time.Second // workers that were killed
)

// Options are the settings of a play. The zero value is the usual one.
type Options struct {
	Rate float64 // requests per second and bulkhead; 0 is 200
	Pace float64 // times the usual lengths; 0 is 1
	// NoFault leaves orders alone, to see that the verdict notices.
	NoFault bool
	// Began is told when a phase has begun, and Ended once its figures are there,
	// which may be after the next has begun.
	Began, Ended func(Phase)
}

// Account is everything that was measured, and the verdict.
type Account struct {
	Rate         float64   `json:"requests_per_second"` // of each bulkhead
	Phases       []Phase   `json:"phases"`
	Incident     Incident  `json:"incident"`
	OpensWithin  float64   `json:"breaker_opens_within_seconds"`
	ClosesWithin float64   `json:"breaker_closes_within_seconds"`
	Verdict      Verdict   `json:"verdict"`
	Began        time.Time `json:"began"`
	Seconds      float64   `json:"seconds"`
}

// Cast are the services of the story. It is played on a stack of these alone: what
// else runs on the machine would only blur the percentiles.
func Cast() []demo.Kind { return []demo.Kind{demo.Orders, demo.Catalog, demo.Payments} }

// A Phase is a part of the story.
type Phase struct {
	Name      string    `json:"name"`
	What      string    `json:"what"` // one sentence: what is done to whom
	From      float64   `json:"from_seconds"`
	To        float64   `json:"to_seconds"`
	Bulkheads []Figures `json:"bulkheads"` // as Cast has them
	Late      Lateness  `json:"machine"`
}

// Incident is what happened to orders and around it.
type Incident struct {
	Opened  time.Duration `json:"-"` // from the hang to the open breaker; 0: it did not open
	Closed  time.Duration `json:"-"` // from the repair to the closed breaker; 0: it did not close
	Killed  []int         `json:"killed"`
	Revived []int         `json:"revived"` // the workers that took their places

	CoordinatorReplaced bool     `json:"coordinator_replaced"`
	WorkersReplaced     []string `json:"workers_replaced"` // siblings that lost a worker

	PaymentsAnswered int `json:"payments_answered"`
	PaymentsMade     int `json:"payments_made"`
	PaidTwice        int `json:"paid_twice"`

	OpenedSeconds float64 `json:"breaker_opened_seconds"`
	ClosedSeconds float64 `json:"breaker_closed_seconds"`
}

// A player plays one story.
type player struct {
	Options
	stack   *demo.Stack
	traffic *traffic
	account *Account
	began   time.Time
}

// Play plays the story on a stack that has just started, and judges it. The error
// is about a play that could not go on; a bad verdict is none.
func Play(ctx context.Context, stack *demo.Stack, o Options) (*Account, error) {
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Pace == 0 {
		o.Pace = 1
	}
	before, err := stack.Status(ctx)
	if err != nil {
		return nil, err
	}
	p := &player{Options: o, stack: stack, began: time.Now(), account: &Account{
		Rate: o.Rate, Began: time.Now(), OpensWithin: OpensWithin.Seconds(), ClosesWithin: ClosesWithin.Seconds(),
	}}
	if p.traffic, err = startTraffic(ctx, stack.URL(), o.Rate); err != nil {
		return nil, err
	}
	defer p.traffic.stop()
	if err := p.play(ctx); err != nil {
		return nil, err
	}
	if err := p.close(ctx, before); err != nil {
		return nil, err
	}
	return p.account, nil
}

// play is the story. It ends early when the breaker does not do its part: what
// follows would measure something else.
func (p *player) play(ctx context.Context) error {
	orders, incident := p.stack.Services[demo.Orders], &p.account.Incident
	if err := p.wait(ctx, warmUp); err != nil {
		return err
	}
	if err := p.begin(ctx, Baseline, fmt.Sprintf("All is well: %.0f requests a second to each bulkhead.", p.Rate)); err != nil {
		return err
	}
	if err := p.takeBaseline(ctx); err != nil {
		return err
	}

	p.traffic.cut(Hang)
	if err := p.traffic.settle(ctx, Baseline); err != nil { // or the hang would catch what belongs there
		return err
	}
	what := "Nothing happens: the fault is left out."
	if !p.NoFault {
		what = fmt.Sprintf("The orders service, process %d, accepts requests and answers none.", orders.Pid())
		if err := orders.Fault(ctx, demo.Fault{Mode: demo.Hang}); err != nil {
			return err
		}
	}
	hung := time.Now()
	if err := p.begin(ctx, Hang, what); err != nil {
		return err
	}
	var err error
	if incident.Opened, err = p.awaitBreaker(ctx, "open", hung, OpensWithin); err != nil || incident.Opened == 0 {
		return err
	}

	p.traffic.cut(Open)
	if err := p.begin(ctx, Open, fmt.Sprintf("The breaker of orders opened %.1f s after that: its callers are refused at once.", incident.Opened.Seconds())); err != nil {
		return err
	}
	if err := p.wait(ctx, openFor); err != nil {
		return err
	}
	return p.end(ctx)
}

// takeBaseline takes it again while the machine is too busy for it to be of use.
func (p *player) takeBaseline(ctx context.Context) error {
	for take := 1; ; take++ {
		if err := p.wait(ctx, baselineFor); err != nil {
			return err
		}
		if take == baselines || p.traffic.late(Baseline).P99 <= worseBy {
			return nil
		}
		p.traffic.cut(Baseline)
	}
}

// end is the second half: the workers die, the service recovers.
func (p *player) end(ctx context.Context) error {
	orders, incident := p.stack.Services[demo.Orders], &p.account.Incident
	p.traffic.cut(Killed)
	var err error
	if incident.Killed, err = p.killWorkers(ctx); err != nil {
		return err
	}
	if err := p.begin(ctx, Killed, fmt.Sprintf("SIGKILL to the workers of orders, processes %s.", list(incident.Killed))); err != nil {
		return err
	}
	if err := p.wait(ctx, killedFor); err != nil {
		return err
	}
	if incident.Revived, err = p.awaitWorkers(ctx, incident.Killed); err != nil {
		return err
	}

	p.traffic.cut(Repair)
	hung := orders.Pid()
	if err := orders.Restart(ctx); err != nil {
		return err
	}
	repaired := time.Now()
	if err := p.begin(ctx, Repair, fmt.Sprintf("The hung orders service, process %d, gets SIGKILL and is started again as process %d.", hung, orders.Pid())); err != nil {
		return err
	}
	if incident.Closed, err = p.awaitBreaker(ctx, "closed", repaired, ClosesWithin); err != nil || incident.Closed == 0 {
		return err
	}

	p.traffic.cut(Recovered)
	if err := p.begin(ctx, Recovered, fmt.Sprintf("The breaker of orders closed %.1f s after the repair.", incident.Closed.Seconds())); err != nil {
		return err
	}
	return p.wait(ctx, recoveredFor)
}

// begin adds a phase, after the one before it has been reported.
func (p *player) begin(ctx context.Context, name, what string) error {
	if name == Baseline {
		p.traffic.cut(name)
	} else if err := p.report(ctx); err != nil {
		return err
	}
	phase := Phase{Name: name, What: what}
	p.account.Phases = append(p.account.Phases, phase)
	if p.Began != nil {
		p.Began(phase)
	}
	return nil
}

// report waits until the requests of the latest phase have ended, and reports it.
func (p *player) report(ctx context.Context) error {
	last := &p.account.Phases[len(p.account.Phases)-1]
	if err := p.traffic.settle(ctx, last.Name); err != nil {
		return err
	}
	p.traffic.figures(last)
	if p.Ended != nil {
		p.Ended(*last)
	}
	return nil
}

// close ends the load, completes the account and judges it.
func (p *player) close(ctx context.Context, before supervisor.Status) error {
	p.traffic.cut("after")
	if err := p.report(ctx); err != nil {
		return err
	}
	p.traffic.stop()
	for i := range p.account.Phases { // what came in later belongs to them too
		p.traffic.figures(&p.account.Phases[i])
	}
	after, err := p.stack.Status(ctx)
	if err != nil {
		return err
	}
	ledger, err := p.stack.Services[demo.Payments].Ledger(ctx)
	if err != nil {
		return err
	}
	incident := &p.account.Incident
	incident.CoordinatorReplaced = before.Pid != after.Pid
	incident.WorkersReplaced = replaced(before, after)
	incident.PaymentsAnswered = p.traffic.created()
	incident.PaymentsMade, incident.PaidTwice = len(ledger), paidTwice(ledger)
	incident.OpenedSeconds, incident.ClosedSeconds = incident.Opened.Seconds(), incident.Closed.Seconds()
	p.account.Seconds = time.Since(p.began).Seconds()
	p.account.Verdict = Judge(p.account.Phases, *incident)
	return nil
}

// replaced are the siblings whose workers are not the same as before.
func replaced(before, after supervisor.Status) []string {
	names := []string{}
	for i, b := range before.Bulkheads {
		if b.Name != string(demo.Orders) && (i >= len(after.Bulkheads) || !slices.Equal(pids(b), pids(after.Bulkheads[i]))) {
			names = append(names, b.Name)
		}
	}
	return names
}

func paidTwice(ledger []demo.Payment) int {
	seen := make(map[string]bool, len(ledger))
	for _, payment := range ledger {
		seen[payment.IdempotencyKey] = true
	}
	return len(ledger) - len(seen)
}
