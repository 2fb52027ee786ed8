// Package logs makes the program's logger: hclog behind a bounded writer. hclog
// holds one lock across each write, so a standard error that blocks would stop
// every goroutine that logs, in every bulkhead.
package logs

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// lines is how many wait for a slow writer. A line is a few hundred bytes, and
// those of workers at most 24 KiB.
const lines = 1024

// Sink is the bounded writer. Its Write never blocks: a line that finds no place
// is dropped and counted.
type Sink struct {
	w       io.Writer
	queue   chan []byte
	dropped atomic.Uint64
	written sync.WaitGroup
}

// New is a logger of at least level in format "json" or "text", and its sink.
func New(w io.Writer, level slog.Level, format string) (hclog.Logger, *Sink) {
	s := &Sink{w: w, queue: make(chan []byte, lines)}
	log := hclog.New(&hclog.LoggerOptions{
		Name: "coordinator", Level: hclogLevel(level), Output: s, JSONFormat: format == "json",
		TimeFormat: time.RFC3339Nano,
	})
	go s.run(log)
	return log, s
}

func hclogLevel(level slog.Level) hclog.Level {
	switch {
	case level < slog.LevelDebug:
		return hclog.Trace
	case level < slog.LevelInfo:
		return hclog.Debug
	case level < slog.LevelWarn:
		return hclog.Info
	case level < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

// Write takes one line. It always succeeds.
func (s *Sink) Write(p []byte) (int, error) {
	s.written.Add(1)
	select {
	case s.queue <- append([]byte(nil), p...):
	default:
		s.written.Done()
		s.dropped.Add(1)
	}
	return len(p), nil
}

// Dropped is how many lines were lost.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

// told is how often the log says at most that lines were lost.
const told = time.Second

// run lives as long as the program: its writer may block for ever.
func (s *Sink) run(log hclog.Logger) {
	var said uint64
	var at time.Time
	for line := range s.queue {
		if _, err := s.w.Write(line); err != nil {
			s.dropped.Add(1) // nowhere to say so but in the metric
		}
		lost := s.dropped.Load()
		if now := time.Now(); lost > said && len(s.queue) < lines/2 && now.Sub(at) >= told {
			log.Warn("log lines dropped", "lines", lost-said)
			said, at = lost, now
		}
		s.written.Done()
	}
}

// Flush waits until what was logged is written, or until ctx ends.
func (s *Sink) Flush(ctx context.Context) {
	done := make(chan struct{})
	go func() { s.written.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
