package sizing

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// A trace file is lines of JSON: a TraceHeader, an array for each visit as
//
//	[arrival, wait, held, fate]
//
// in microseconds, the arrival since the recording began and the fate as the
// number of a Fate, and a TraceEnd. Visits are in the order in which they ended.
// Nothing in it tells what was asked or by whom.
const (
	traceFormat  = "coordinator-trace"
	traceVersion = 1

	// MaxVisits is how many visits a trace holds: 64 MiB once it is read.
	MaxVisits = 1 << 21

	maxTraceLine = 4 << 10
	longestSpan  = 24 * time.Hour
)

// The conditions of a trace.
var (
	// ErrTruncated: the trace has no end. What was read of it is good.
	ErrTruncated = errors.New("sizing: the trace has no end: its recording was cut off")
	// ErrTraceFull: the trace holds MaxVisits.
	ErrTraceFull = errors.New("sizing: the trace is full")
)

// TraceHeader says what was recorded, and under which setting.
type TraceHeader struct {
	Format       string    `json:"format"`
	Version      int       `json:"version"`
	Bulkhead     string    `json:"bulkhead"`
	Began        time.Time `json:"began"`
	Limit        int       `json:"limit"`
	Queue        int       `json:"queue"`
	QueueTimeout float64   `json:"queue_timeout_ms"`
}

// TraceEnd says how complete a trace is.
type TraceEnd struct {
	Visits     int64 `json:"visits"`
	Dropped    int64 `json:"dropped"`    // not recorded: the disk did not keep up, or the trace was full
	Unfinished int64 `json:"unfinished"` // still in flight at the end
}

// TraceWriter writes a trace. Make one with NewTraceWriter; it is not safe for
// concurrent use.
type TraceWriter struct {
	w    *bufio.Writer
	n    int64
	line []byte
}

// NewTraceWriter writes the header. Format and Version are filled in.
func NewTraceWriter(w io.Writer, h TraceHeader) (*TraceWriter, error) {
	h.Format, h.Version = traceFormat, traceVersion
	t := &TraceWriter{w: bufio.NewWriterSize(w, 32<<10)}
	return t, t.json(h)
}

// Write adds a visit; ErrTraceFull when there are MaxVisits.
func (t *TraceWriter) Write(v Visit) error {
	if t.n >= MaxVisits {
		return ErrTraceFull
	}
	t.n++
	b := t.line[:0]
	for i, d := range [...]time.Duration{v.At, v.Wait, v.Held} {
		b = append(b, "[,,"[i])
		b = strconv.AppendInt(b, max(d, 0).Microseconds(), 10)
	}
	b = append(b, ',')
	b = strconv.AppendUint(b, uint64(v.Fate), 10)
	b = append(b, ']', '\n')
	t.line = b
	_, err := t.w.Write(b)
	return err
}

// Flush hands on what is buffered.
func (t *TraceWriter) Flush() error { return t.w.Flush() }

// Close writes the end, which it returns. It does not close the file.
func (t *TraceWriter) Close(dropped, unfinished int64) (TraceEnd, error) {
	end := TraceEnd{Visits: t.n, Dropped: dropped, Unfinished: unfinished}
	if err := t.json(end); err != nil {
		return end, err
	}
	return end, t.w.Flush()
}

func (t *TraceWriter) json(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.w.Write(append(line, '\n'))
	return err
}

// Trace is a trace that was read, in the order of arrival.
type Trace struct {
	Header TraceHeader
	Visits []Visit
	End    TraceEnd
}

// ReadTrace reads a trace, at most MaxVisits of it. With ErrTruncated the Trace
// is what there is; with any other error it is of no use.
func ReadTrace(r io.Reader) (Trace, error) {
	var t Trace
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxTraceLine)
	if !lines.Scan() {
		return t, cmp.Or(lines.Err(), errors.New("sizing: an empty file is no trace"))
	}
	if err := json.Unmarshal(lines.Bytes(), &t.Header); err != nil || t.Header.Format != traceFormat {
		return t, errors.New("sizing: the file is no trace: its first line is not the head of one")
	}
	if t.Header.Version != traceVersion {
		return t, fmt.Errorf("sizing: the trace is of version %d, this program reads %d", t.Header.Version, traceVersion)
	}
	err := t.read(lines)
	slices.SortStableFunc(t.Visits, func(a, b Visit) int { return cmp.Compare(a.At, b.At) })
	return t, err
}

// read reads what follows the header.
func (t *Trace) read(lines *bufio.Scanner) error {
	for number := 2; lines.Scan(); number++ {
		line := lines.Bytes()
		v, ok := parseVisit(line)
		switch {
		case ok && len(t.Visits) == MaxVisits:
			return fmt.Errorf("sizing: the trace holds more than %d visits", MaxVisits)
		case ok:
			t.Visits = append(t.Visits, v)
			continue
		case json.Unmarshal(line, &t.End) == nil:
			if t.End.Visits != int64(len(t.Visits)) {
				return fmt.Errorf("sizing: the trace should hold %d visits and holds %d", t.End.Visits, len(t.Visits))
			}
			return nil
		case lines.Scan() || lines.Err() != nil:
			return fmt.Errorf("sizing: line %d of the trace is no visit", number)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	t.End = TraceEnd{Visits: int64(len(t.Visits))}
	return ErrTruncated
}

// parseVisit reads the one form that Write makes, and no other JSON.
func parseVisit(line []byte) (v Visit, ok bool) {
	var numbers [4]int64
	for i, before := range []byte("[,,,") {
		if len(line) == 0 || line[0] != before {
			return v, false
		}
		digits := 0
		for _, c := range line[1:] {
			if c < '0' || c > '9' {
				break
			}
			numbers[i] = 10*numbers[i] + int64(c-'0')
			digits++
		}
		if digits == 0 || digits > 13 {
			return v, false
		}
		line = line[1+digits:]
	}
	if string(line) != "]" || numbers[3] >= fates {
		return v, false
	}
	for _, n := range numbers[:3] {
		if time.Duration(n) > longestSpan/time.Microsecond {
			return v, false
		}
	}
	v = Visit{
		At: time.Duration(numbers[0]) * time.Microsecond, Wait: time.Duration(numbers[1]) * time.Microsecond,
		Held: time.Duration(numbers[2]) * time.Microsecond, Fate: Fate(numbers[3]),
	}
	return v, v.Fate == Served || v.Held == 0
}
