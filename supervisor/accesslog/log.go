package accesslog

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// PendingBytes bounds what waits for the sink. Behind it lines are dropped.
	PendingBytes = 1 << 20
	// FlushEvery is how long a line waits for others, so that a busy log costs
	// ten writes a second and not one a request.
	FlushEvery = 100 * time.Millisecond
	// reportEvery is how often an owner hears at most of a sink that fails.
	reportEvery = time.Minute
)

// ErrClosed is that of a Reopen after Close.
var ErrClosed = errors.New("access log: closed")

// Options are those of Open.
type Options struct {
	Sampling Sampling
	// Path of the file, made with mode 0640 and appended to. Empty: Stdout.
	Path string
	// Stdout is where lines go without a Path. It is not closed.
	Stdout io.Writer
	// Report hears of a sink that fails, once a minute at most, from the log's
	// goroutine. nil: nobody does; Stats count all the same.
	Report func(error)
	// Counts may be shared by logs that follow each other. nil: the log's own.
	Counts *Counts
}

// Counts are what logs have done. The zero value has counted nothing. It is safe
// for concurrent use.
type Counts struct{ written, dropped, failed atomic.Uint64 }

// Stats are the counts of now.
func (c *Counts) Stats() Stats {
	return Stats{Written: c.written.Load(), Dropped: c.dropped.Load(), Failed: c.failed.Load()}
}

// Log writes lines. A nil *Log is one that is off: it does nothing at no cost.
// It is safe for concurrent use.
type Log struct {
	sampling atomic.Pointer[Sampling]
	path     string
	report   func(error)
	counts   *Counts
	lines    sync.Pool // of *[]byte

	mu      sync.Mutex
	closed  bool
	pending []byte
	count   uint64 // lines in it

	waiting chan struct{} // a first line does
	urgent  chan struct{} // half of the place is used, or Close was called
	reopen  chan chan error
	done    chan struct{} // the owner has ended

	// The owner's.
	sink     sink
	spare    []byte
	torn     bool // the last write ended inside a line
	reported time.Time
}

// Stats are figures of Counts.
type Stats struct {
	Written uint64 // lines
	Dropped uint64 // lines that found no place, or that the sink did not take
	Failed  uint64 // writes
}

// Open starts a log. When o.Sampling is off it returns nil, which is a log too.
// It fails when the file cannot be opened.
func Open(o Options) (*Log, error) {
	if o.Sampling.Off() {
		return nil, nil
	}
	s, err := openSink(o.Path, o.Stdout)
	if err != nil {
		return nil, err
	}
	l := &Log{
		path: o.Path, report: o.Report, counts: o.Counts, sink: s,
		lines:   sync.Pool{New: func() any { b := make([]byte, 0, MaxLineBytes); return &b }},
		waiting: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		reopen: make(chan chan error), done: make(chan struct{}),
	}
	if l.counts == nil {
		l.counts = &Counts{}
	}
	l.SetSampling(o.Sampling)
	go l.run()
	return l, nil
}

// SetSampling changes which requests get a line. A nil *Log stays off.
func (l *Log) SetSampling(s Sampling) {
	if l != nil {
		l.sampling.Store(&s)
	}
}

// Sample is for how many requests the line of one stands, which is up to chance;
// 0: it gets none. Ask before a Record is made: most are not needed.
func (l *Log) Sample(failed bool) uint32 {
	if l == nil {
		return 0
	}
	return l.sampling.Load().pick(failed)
}

// Add writes the line of r, for which Sample was asked. It never waits for the
// sink.
func (l *Log) Add(r *Record) {
	if l == nil {
		return
	}
	line := l.lines.Get().(*[]byte)
	*line = r.append((*line)[:0])
	l.take(*line)
	l.lines.Put(line)
}

func (l *Log) take(line []byte) {
	l.mu.Lock()
	if l.closed || len(l.pending)+len(line) > PendingBytes {
		l.mu.Unlock()
		l.counts.dropped.Add(1)
		return
	}
	first := len(l.pending) == 0
	l.pending = append(l.pending, line...)
	l.count++
	half := len(l.pending) >= PendingBytes/2
	l.mu.Unlock()
	if first {
		wake(l.waiting)
	}
	if half {
		wake(l.urgent)
	}
}

// wake says so to a channel of one place; once is enough.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats are the counts of now; zero for a log that is off.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	return l.counts.Stats()
}

// Reopen writes what is pending to the file that was, and opens the path again:
// logrotate has moved it. When that fails the old file stays in use. It does
// nothing without a file, and returns the error of ctx when the sink blocks for
// longer.
func (l *Log) Reopen(ctx context.Context) error {
	if l == nil || l.path == "" {
		return nil
	}
	reply := make(chan error, 1)
	select {
	case l.reopen <- reply:
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close writes what is pending and ends the log; it returns the error of ctx when
// the sink blocks for longer. The goroutine of a sink that never returns from a
// write lasts as long as that write. A second call waits like the first.
func (l *Log) Close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	wake(l.urgent)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run owns the sink.
func (l *Log) run() {
	defer close(l.done)
	defer func() { l.complain(l.sink.close()) }()
	timer := time.NewTimer(FlushEvery)
	timer.Stop()
	for {
		select {
		case <-l.waiting:
			timer.Reset(FlushEvery)
		case <-timer.C:
			l.flush()
		case reply := <-l.reopen:
			l.flush()
			reply <- l.openAgain()
		case <-l.urgent:
			if l.flush() {
				return
			}
		}
	}
}

func (l *Log) openAgain() error {
	s, err := openSink(l.path, nil)
	if err != nil {
		return err
	}
	l.complain(l.sink.close())
	l.sink, l.torn = s, false
	return nil
}

// flush writes what is pending, and reports whether it was the last.
func (l *Log) flush() (last bool) {
	l.mu.Lock()
	block, count := l.pending, l.count
	l.pending, l.count = l.spare[:0], 0
	last = l.closed
	l.mu.Unlock()
	if len(block) > 0 {
		l.write(block, count)
	}
	l.spare = block
	return last
}

// write gives the sink whole lines. After one that was torn the next begins on a
// line of its own, so that a reader loses no more than that one.
func (l *Log) write(block []byte, count uint64) {
	var written uint64
	for piece := range l.sink.pieces(block) {
		if l.torn {
			if _, err := l.sink.Write(newline); err != nil {
				l.fail(err)
				break
			}
		}
		n, err := l.sink.Write(piece)
		l.torn = n > 0 && piece[n-1] != '\n'
		written += countLines(piece[:n])
		if err != nil {
			l.fail(err)
			break
		}
	}
	l.counts.written.Add(written)
	l.counts.dropped.Add(count - written)
}

func (l *Log) fail(err error) {
	l.counts.failed.Add(1)
	l.complain(err)
}

func (l *Log) complain(err error) {
	if err == nil || l.report == nil {
		return
	}
	if now := time.Now(); l.reported.IsZero() || now.Sub(l.reported) >= reportEvery {
		l.reported = now
		l.report(err)
	}
}
