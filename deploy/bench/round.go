package main

import (
	"context"
	"errors"
	"slices"
)

// round measures everything once. Systems take their turns in an order that
// begins with another one each time, so that none is always the one that a warm
// machine or a neighbour favours.
func (b *bench) round(ctx context.Context, round int) error {
	order := slices.Concat(b.systems[round%len(b.systems):], b.systems[:round%len(b.systems)])
	if b.has(partClosed) || b.has(partOpen) {
		if err := b.loads(ctx, round, order); err != nil {
			return err
		}
	}
	for _, s := range order {
		if b.has(partStream) && s.streams {
			b.sayDoing(round, "stream", s)
			if err := b.tolerate(ctx, s, b.stream(ctx, round, s)); err != nil {
				return err
			}
		}
		if b.has(partIdle) {
			b.sayDoing(round, "idle connections", s)
			if err := b.tolerate(ctx, s, b.idleConns(ctx, round, s)); err != nil {
				return err
			}
		}
	}
	if b.has(partRoutes) {
		return b.routes(ctx, round)
	}
	return nil
}

func (b *bench) sayDoing(round int, what string, s *system) {
	b.say("round %d of %d: %s: %s", round+1, b.rounds, what, s.name)
}

// tolerate makes a note of the failure of a peer, which then has a figure less:
// half an hour is not given up for it.
func (b *bench) tolerate(ctx context.Context, s *system, err error) error {
	if err == nil || ctx.Err() != nil || s.name == coordinatorName {
		return err
	}
	b.results.note("%s: %v", s.name, err)
	b.say("%s: %v", s.name, err)
	return nil
}

// loads has all systems run, so that each figure of one is taken within seconds
// of the others' same figure. Those whose turn it is not have no work.
func (b *bench) loads(ctx context.Context, round int, order []*system) (err error) {
	var instances []*instance
	defer func() {
		for _, i := range instances {
			err = errors.Join(err, i.stop())
		}
	}()
	for _, s := range order {
		i, err := b.start(ctx, s, b.backend, sizePath(b.sizes[0]))
		if err == nil {
			instances = append(instances, i)
		} else if err := b.tolerate(ctx, s, err); err != nil {
			return err
		}
	}
	for _, size := range b.sizes {
		for _, conns := range b.conns {
			if !b.has(partClosed) && conns != b.saturated() {
				continue
			}
			b.say("round %d of %d: closed loop, %s, %s", round+1, b.rounds, sizeText(size), connsText(conns))
			for _, i := range instances {
				if !b.has(partClosed) && i.name != coordinatorName { // it is only the rate of the open loop that is looked for
					continue
				}
				if err := b.tolerate(ctx, i.system, b.closed(ctx, round, i, size, conns)); err != nil {
					return err
				}
			}
		}
		if !b.has(partOpen) {
			continue
		}
		saturation := b.results.at(point{closedRate, coordinatorName, size, b.saturated()}, round)
		b.say("round %d of %d: open loop, %s, %.0f requests/s", round+1, b.rounds, sizeText(size), saturation/2)
		for _, i := range instances {
			if err := b.tolerate(ctx, i.system, b.open(ctx, round, i, size, saturation/2)); err != nil {
				return err
			}
		}
	}
	return nil
}

// turns is how often each of two systems is loaded in a round where their
// difference is small beside what the machine's speed changes meanwhile.
const turns = 3

// routes compares two coordinators that both run, in turns.
func (b *bench) routes(ctx context.Context, round int) (err error) {
	pair := []*system{fewRoutes, manyRoutes}
	if round%2 == 1 {
		slices.Reverse(pair)
	}
	path := "/b1" + sizePath(b.sizes[0])
	var instances []*instance
	defer func() {
		for _, i := range slices.Backward(instances) {
			err = errors.Join(err, i.stop())
		}
	}()
	for _, s := range pair {
		b.sayDoing(round, "routes", s)
		i, err := b.start(ctx, s, b.backend, path)
		if err != nil {
			return err
		}
		instances = append(instances, i)
		if err := b.memory(ctx, round, i); err != nil {
			return err
		}
	}
	rates, costs := make([]float64, len(pair)), make([]float64, len(pair))
	for range turns {
		for n, i := range instances {
			cost, report, err := b.cost(ctx, i, i.url+path, b.saturated())
			if err != nil {
				return err
			}
			b.judge(i.name, "routes", report)
			rates[n] += report.PerSecond / turns
			costs[n] += cost / turns
		}
	}
	for n, s := range pair {
		b.results.set(point{metric: routesRate, system: s.name}, round, rates[n])
		b.results.set(point{metric: routesCPU, system: s.name}, round, costs[n])
	}
	return nil
}

var fewRoutes, manyRoutes = coordinatorWithRoutes(3, 3), coordinatorWithRoutes(100, 1000)
