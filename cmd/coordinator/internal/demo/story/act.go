package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/supervisor"
)

// What the story does to processes, and how it watches them.

// wait lets usual pass, at the pace of this play.
func (p *player) wait(ctx context.Context, usual time.Duration) error {
	over := time.NewTimer(time.Duration(p.Pace * float64(usual)))
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// orders is the status of the orders bulkhead.
func (p *player) orders(ctx context.Context) (supervisor.BulkheadStatus, error) {
	status, err := p.stack.Status(ctx)
	if err != nil {
		return supervisor.BulkheadStatus{}, err
	}
	for _, b := range status.Bulkheads {
		if b.Name == string(demo.Orders) {
			return b, nil
		}
	}
	return supervisor.BulkheadStatus{}, errors.New("story: the coordinator has no bulkhead for orders")
}

// poll asks for the status of orders until ok or until within has passed since then.
func (p *player) poll(ctx context.Context, since time.Time, within time.Duration, ok func(supervisor.BulkheadStatus) bool) (bool, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		asked := time.Now()
		orders, err := p.orders(ctx)
		if err != nil {
			return false, err
		}
		if ok(orders) {
			return true, nil
		}
		if asked.Sub(since) > within {
			return false, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// awaitBreaker returns how long after since the breaker of orders changed to state,
// by its own clock, and 0 when it did not within that time.
func (p *player) awaitBreaker(ctx context.Context, state string, since time.Time, within time.Duration) (time.Duration, error) {
	var took time.Duration
	changed, err := p.poll(ctx, since, within, func(b supervisor.BulkheadStatus) bool {
		took = max(b.Breaker.Since.Sub(since), time.Millisecond)
		return b.Breaker.State == state
	})
	if !changed || took > within {
		return 0, err
	}
	return took, nil
}

// killWorkers kills every worker of orders.
func (p *player) killWorkers(ctx context.Context) ([]int, error) {
	orders, err := p.orders(ctx)
	if err != nil {
		return nil, err
	}
	victims := pids(orders)
	for _, pid := range victims {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("story: SIGKILL to worker %d of orders: %w", pid, err)
		}
	}
	return victims, nil
}

// awaitWorkers returns the workers that took the places of the killed ones.
func (p *player) awaitWorkers(ctx context.Context, killed []int) ([]int, error) {
	var revived []int
	_, err := p.poll(ctx, time.Now(), reviveIn, func(b supervisor.BulkheadStatus) bool {
		revived = slices.DeleteFunc(pids(b), func(pid int) bool { return slices.Contains(killed, pid) })
		return len(revived) >= len(killed)
	})
	return revived, err
}

// pids are the ready workers of a bulkhead.
func pids(b supervisor.BulkheadStatus) []int {
	all := []int{}
	for _, w := range b.Workers {
		if w.State == "ready" && w.Pid > 1 {
			all = append(all, w.Pid)
		}
	}
	return all
}

func list(pids []int) string {
	text := make([]string, len(pids))
	for i, pid := range pids {
		text[i] = strconv.Itoa(pid)
	}
	return strings.Join(text, " and ")
}
