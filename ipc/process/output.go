package process

import (
	"cmp"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxLine is how much of a line is kept, in bytes as the child wrote them.
	MaxLine = 8 << 10
	// DefaultLineRate is for Spec.LineRate, in lines a second.
	DefaultLineRate = 200
	// DefaultLineBurst is for Spec.LineBurst: a stack dump fits.
	DefaultLineBurst = 1000

	queueLines = 1024      // waiting for the sink
	queueBytes = 256 << 10 // the same, in text
	readSize   = 16 << 10
)

// Stream is one of the two outputs of a process.
type Stream uint8

const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return "unknown"
}

// Line is one line that a process printed.
type Line struct {
	Stream Stream
	// Text is printable UTF-8 and tabs, without the line end. What was not
	// became U+FFFD. At most 3*MaxLine bytes.
	Text string
	// Cut says that the line was longer than MaxLine; the rest is lost.
	Cut bool
	// Dropped is how many lines were lost since the Line before, to the rate
	// limit or to a slow sink. When lines were lost after the last one, a Line
	// with nothing else set tells at the end.
	Dropped uint64
}

// Stats counts what a process has printed. The handshake is in Bytes only.
type Stats struct {
	Bytes     uint64 // read from both streams
	Lines     uint64 // queued for the sink
	Dropped   uint64 // lost to the rate limit or to a slow sink
	Truncated uint64 // lines over MaxLine, delivered or not
	Lost      uint64 // bytes beyond MaxLine
}

// output reads both streams and feeds the sink. The readers never wait for
// anything but the child: what the queue cannot take is dropped.
type output struct {
	stdout, stderr *os.File
	sink           func(Line)
	bucket         *bucket
	queue          chan Line
	queued         atomic.Int64 // bytes of text in queue
	readers        sync.WaitGroup
	sunk           chan struct{} // closed when the sink has had the last line

	bytes, lines, dropped, truncated, lost atomic.Uint64
}

func startOutput(l *launch, h *handshake) *output {
	rate := cmp.Or(l.spec.LineRate, DefaultLineRate)
	burst := cmp.Or(l.spec.LineBurst, DefaultLineBurst)
	o := &output{
		stdout: l.stdout,
		stderr: l.stderr,
		sink:   l.spec.Line,
		bucket: newBucket(rate, burst, time.Now()),
		queue:  make(chan Line, queueLines),
		sunk:   make(chan struct{}),
	}
	o.readers.Go(func() {
		o.read(o.stdout, Stdout, h.offer)
		h.settle("", "its stdout ended before the first line did")
	})
	o.readers.Go(func() {
		o.read(o.stderr, Stderr, func([]byte, bool) bool { return false })
	})
	go o.deliver()
	return o
}

// read reads f to its end, or to the deadline that finish sets. A line that taken
// takes is not for the sink.
func (o *output) read(f *os.File, stream Stream, taken func(line []byte, cut bool) bool) {
	defer f.Close()
	var now time.Time // of the chunk: a flood is many lines a chunk
	ended := false
	s := splitter{limit: MaxLine, emit: func(line []byte, cut bool) {
		if ended || !taken(line, cut) {
			o.put(now, stream, line, cut)
		}
	}}
	buf := make([]byte, readSize)
	for {
		n, err := f.Read(buf)
		now = time.Now()
		lost := s.lost
		s.write(buf[:n])
		o.bytes.Add(uint64(n))
		o.lost.Add(s.lost - lost)
		if err != nil {
			break // the end or the deadline
		}
	}
	ended = true // half a line is no handshake
	s.flush()
}

func (o *output) put(now time.Time, stream Stream, line []byte, cut bool) {
	if cut {
		o.truncated.Add(1)
	}
	if !o.bucket.take(now) {
		o.dropped.Add(1)
		return
	}
	text := clean(line)
	size := int64(len(text))
	if o.queued.Add(size) > queueBytes {
		o.queued.Add(-size)
		o.dropped.Add(1)
		return
	}
	select {
	case o.queue <- Line{Stream: stream, Text: text, Cut: cut}:
		o.lines.Add(1)
	default:
		o.queued.Add(-size)
		o.dropped.Add(1)
	}
}

// deliver calls the sink until the queue is closed.
func (o *output) deliver() {
	defer close(o.sunk)
	var told uint64
	for line := range o.queue {
		o.queued.Add(-int64(len(line.Text)))
		dropped := o.dropped.Load()
		line.Dropped, told = dropped-told, dropped
		if o.sink != nil {
			o.sink(line)
		}
	}
	if dropped := o.dropped.Load(); dropped > told && o.sink != nil {
		o.sink(Line{Dropped: dropped - told})
	}
}

// finish reads what is left, for at most d, and waits for the sink.
func (o *output) finish(d time.Duration) {
	deadline := time.Now().Add(d)
	for _, f := range []*os.File{o.stdout, o.stderr} {
		_ = f.SetReadDeadline(deadline) // fails when it is closed, which is as good
	}
	o.readers.Wait()
	close(o.queue)
	<-o.sunk
}

func (o *output) stats() Stats {
	return Stats{
		Bytes:     o.bytes.Load(),
		Lines:     o.lines.Load(),
		Dropped:   o.dropped.Load(),
		Truncated: o.truncated.Load(),
		Lost:      o.lost.Load(),
	}
}
