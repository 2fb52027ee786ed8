package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A loadReport is what is read of "coordinator load --json".
type loadReport struct {
	Due       int            `json:"due"`
	Done      int            `json:"done"`
	PerSecond float64        `json:"per_second"`
	Status    map[string]int `json:"status"`
	Errors    map[string]int `json:"errors"`
	Dropped   int            `json:"dropped"`
	All       struct {
		P50MS float64 `json:"p50_ms"`
		P99MS float64 `json:"p99_ms"`
	} `json:"all"`
}

// answerWithin is how long the generator waits for one answer; what takes longer
// has failed.
const answerWithin = 10 * time.Second

// load runs the generator for a time. Conns and rate are its own; a rate of 0 is a
// closed loop.
func (b *bench) load(ctx context.Context, url string, last time.Duration, conns int, rate float64) (*loadReport, error) {
	out, err := output(ctx, last+3*answerWithin, b.dir, filepath.Join(b.bin, "coordinator"), "load", url, "--json",
		"--for", last.String(), "--conns", strconv.Itoa(conns), "--rate", strconv.FormatFloat(rate, 'f', 3, 64),
		"--timeout", answerWithin.String())
	if err != nil {
		return nil, err
	}
	report := new(loadReport)
	if err := json.Unmarshal(out, report); err != nil {
		return nil, fmt.Errorf("coordinator load: %w", err)
	}
	return report, nil
}

// warmUp is a share of the time measured, for connections to be made and heaps to
// find their size.
func (b *bench) warmUp() time.Duration { return min(b.each/4, time.Second) }

// cost loads a system in a closed loop and returns the CPU time of each answer, in
// microseconds.
func (b *bench) cost(ctx context.Context, i *instance, url string, conns int) (float64, *loadReport, error) {
	if _, err := b.load(ctx, url, b.warmUp(), conns, 0); err != nil {
		return 0, nil, err
	}
	pids, before, err := i.cpu()
	if err != nil {
		return 0, nil, err
	}
	report, err := b.load(ctx, url, b.each, conns, 0)
	if err != nil {
		return 0, nil, err
	}
	still, after, err := i.cpu()
	if err != nil {
		return 0, nil, err
	}
	if !slices.Equal(pids, still) {
		return 0, nil, fmt.Errorf("%s: its processes were %v and are %v: what the others used is lost", i.name, pids, still)
	}
	return float64((after - before).Nanoseconds()) / 1e3 / float64(report.Done), report, nil
}

// cpu is what all processes of the system have used so far.
func (i *instance) cpu() ([]int, time.Duration, error) {
	pids, err := i.pids()
	if err != nil {
		return nil, 0, err
	}
	used, err := cpuTime(pids)
	return pids, used, err
}

func (b *bench) closed(ctx context.Context, round int, i *instance, size int64, conns int) error {
	cost, report, err := b.cost(ctx, i, i.url+sizePath(size), conns)
	if err != nil {
		return err
	}
	b.judge(i.name, fmt.Sprintf("closed loop, %s, %s", sizeText(size), connsText(conns)), report)
	b.results.set(point{closedRate, i.name, size, conns}, round, report.PerSecond)
	b.results.set(point{closedCPU, i.name, size, conns}, round, cost)
	b.results.set(point{closedP50, i.name, size, conns}, round, report.All.P50MS)
	return nil
}

func (b *bench) open(ctx context.Context, round int, i *instance, size int64, rate float64) error {
	url := i.url + sizePath(size)
	if _, err := b.load(ctx, url, b.warmUp(), b.saturated(), rate); err != nil {
		return err
	}
	report, err := b.load(ctx, url, b.each, b.saturated(), rate)
	if err != nil {
		return err
	}
	b.judge(i.name, "open loop, "+sizeText(size), report)
	b.results.set(point{openRate, i.name, size, 0}, round, report.PerSecond)
	b.results.set(point{openP50, i.name, size, 0}, round, report.All.P50MS)
	b.results.set(point{openP99, i.name, size, 0}, round, report.All.P99MS)
	return nil
}

// judge notes what was not answered with 200: a system that fails fast has good
// figures.
func (b *bench) judge(name, what string, r *loadReport) {
	if bad := r.Due - r.Status["200"]; bad > 0 {
		b.results.note("%s, %s: %d of %d requests failed (%s)", name, what, bad, r.Due, r.failures())
	}
}

// failures are the kinds of what was not answered with 200.
func (r *loadReport) failures() string {
	kinds := maps.Clone(r.Errors)
	for status, n := range r.Status {
		if status != "200" {
			kinds["status "+status] = n
		}
	}
	if r.Dropped > 0 {
		kinds["never sent"] = r.Dropped
	}
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		words = append(words, fmt.Sprintf("%s: %d", kind, kinds[kind]))
	}
	return strings.Join(words, ", ")
}

// memory takes what a system has just after its start.
func (b *bench) memory(ctx context.Context, round int, i *instance) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	pids, bytes, err := i.memory()
	if err != nil {
		return err
	}
	b.results.set(point{metric: processCount, system: i.name}, round, float64(len(pids)))
	b.results.set(point{metric: idleMemory, system: i.name}, round, float64(bytes)/(1<<20))
	return nil
}

func (i *instance) memory() ([]int, int64, error) {
	pids, err := i.pids()
	if err != nil {
		return nil, 0, err
	}
	bytes, err := proportional(pids)
	return pids, bytes, err
}

// idleConns opens connections to a system just started, has an answer over each,
// and sees what they cost.
func (b *bench) idleConns(ctx context.Context, round int, s *system) (err error) {
	path := sizePath(b.sizes[0])
	i, err := b.start(ctx, s, b.backend, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.stop()) }()
	if err := b.memory(ctx, round, i); err != nil {
		return err
	}
	_, before, err := i.memory()
	if err != nil {
		return err
	}
	var kept keptConns
	defer func() { kept.close() }()
	if err := kept.open(ctx, i.url+path, b.idle); err != nil {
		return fmt.Errorf("%s: connection %d of %d: %w", s.name, len(kept)+1, b.idle, err)
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	_, after, err := i.memory()
	if err != nil {
		return err
	}
	if n := kept.closed(); n > 0 {
		b.results.note("%s closed %d of %d idle connections", s.name, n, b.idle)
	}
	b.results.set(point{metric: connMemory, system: s.name}, round, float64(after-before)/1024/float64(b.idle))
	return nil
}

func sizePath(size int64) string { return "/" + strconv.FormatInt(size, 10) }

func connsText(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return strconv.Itoa(n) + " connections"
}
