package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/sizing"
)

// recordCommand is coordinator record.
type recordCommand struct {
	supervised
	Bulkhead string        `arg:"" help:"Its name."`
	For      time.Duration `default:"10m" help:"How long, 1s to 1h."`
	Out      string        `placeholder:"FILE" help:"Write to FILE, which must not be there; - is the terminal. Else BULKHEAD-DATE-TIME.trace."`
}

func (c *recordCommand) Help() string {
	return "Writes when each request came to the bulkhead's limiter, how long it waited, how long it held its slot, and what " +
		"became of it: nothing of what was asked, or by whom. coordinator size --trace replays it. Ctrl-C ends it; what was " +
		"recorded until then is good. While its breaker is open nothing comes to the limiter."
}

// Validate is called by kong before Run.
func (c *recordCommand) Validate() error {
	if c.For < supervisor.MinRecord || c.For > supervisor.MaxRecord {
		return fmt.Errorf("--for=%s: want %s to %s", c.For, supervisor.MinRecord, supervisor.MaxRecord)
	}
	return nil
}

// A recordReport is what record --json prints.
type recordReport struct {
	Bulkhead string  `json:"bulkhead"`
	File     string  `json:"file"`
	Seconds  float64 `json:"seconds"`
	Bytes    int64   `json:"bytes"`
	Whole    bool    `json:"whole"` // false: it ended before its time
	sizing.TraceEnd
}

func (c *recordCommand) Run(t *terminal) error {
	if err := checkBulkhead(c.Bulkhead); err != nil {
		return err
	}
	if c.JSON && c.Out == "-" {
		return usageError("--json and --out=- both want the terminal")
	}
	asked, err := c.connect(t)
	if err != nil {
		return err
	}
	ctx, restore := interruptible()
	defer restore()
	begun := time.Now()
	body, err := c.begin(ctx, asked)
	if err != nil {
		return namingKnown(err, c.Bulkhead)
	}
	defer body.Close()
	out, name, err := c.create(t, time.Now())
	if err != nil {
		return err
	}
	defer out.Close()
	if !c.JSON {
		fmt.Fprintf(t.stderr, "recording %s for %s to %s\n", c.Bulkhead, c.For, name)
	}
	report := recordReport{Bulkhead: c.Bulkhead, File: name}
	last := new(lastLine)
	report.Bytes, err = io.Copy(io.MultiWriter(out, last), body)
	report.Seconds = time.Since(begun).Seconds()
	if wrote := out.Close(); wrote != nil {
		return wrote
	}
	var ended bool
	report.TraceEnd, ended = last.end()
	report.Whole = ended && report.Seconds >= c.For.Seconds()
	if err != nil && ctx.Err() == nil && report.Bytes == 0 {
		return asked.explain(err, http.MethodPost, c.For)
	}
	return c.tell(t, report, ctx.Err() != nil)
}

// begin has the supervisor record. The answer comes as it is recorded.
func (c *recordCommand) begin(ctx context.Context, asked *client) (io.ReadCloser, error) {
	request, err := newRequest(ctx, http.MethodPost, "/v1/bulkheads/"+url.PathEscape(c.Bulkhead)+"/record",
		map[string]int64{"for_ms": c.For.Milliseconds()})
	if err != nil {
		return nil, err
	}
	response, err := asked.http.Do(request)
	if err != nil {
		return nil, asked.explain(err, http.MethodPost, c.For)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	refused := new(refusal)
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(refused); err != nil || refused.Detail == "" {
		return nil, fmt.Errorf("what listens at %s does not answer as a coordinator that records: status %d", asked.socket, response.StatusCode)
	}
	return nil, refused
}

// create makes the file, which no earlier recording is to be lost for.
func (c *recordCommand) create(t *terminal, now time.Time) (out io.WriteCloser, name string, err error) {
	switch c.Out {
	case "-":
		return nopCloser{t.stdout}, "the terminal", nil
	case "":
		name = fmt.Sprintf("%s-%s.trace", c.Bulkhead, now.Format("20060102-150405"))
	default:
		name = c.Out
	}
	out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		err = fmt.Errorf("--out=%s: %s; want a file that is not there yet, in a folder that is", name, fileCause(err))
	}
	return out, name, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (c *recordCommand) tell(t *terminal, r recordReport, interrupted bool) error {
	if c.JSON {
		if err := writeJSON(t.stdout, r); err != nil {
			return err
		}
	} else {
		c.say(t, r)
	}
	if !r.Whole && !interrupted {
		return errors.New("the recording ended before its time: the supervisor stops, or was replaced by an upgrade; what is there is good")
	}
	return nil
}

func (c *recordCommand) say(t *terminal, r recordReport) {
	if r.Visits > 0 || r.Whole {
		fmt.Fprintf(t.stderr, "recorded %d requests in %s\n", r.Visits, seconds(r.Seconds))
	} else {
		fmt.Fprintf(t.stderr, "recorded for %s\n", seconds(r.Seconds))
	}
	if r.Dropped > 0 {
		fmt.Fprintf(t.stderr, "  %d more were not written in time\n", r.Dropped)
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(t.stderr, "  %d more had not ended\n", r.Unfinished)
	}
	if c.Out != "-" {
		fmt.Fprintf(t.stderr, "replay it: coordinator size --trace %s\n", r.File)
	}
}

// lastLine keeps the end of what is written to it.
type lastLine struct{ tail []byte }

const longestEnd = 512

func (l *lastLine) Write(p []byte) (int, error) {
	l.tail = append(l.tail, p[max(len(p)-longestEnd, 0):]...)
	l.tail = l.tail[max(len(l.tail)-longestEnd, 0):]
	return len(p), nil
}

// end is the end of a trace, and whether there is one.
func (l *lastLine) end() (end sizing.TraceEnd, ok bool) {
	text, whole := bytes.CutSuffix(l.tail, []byte("\n"))
	text = text[bytes.LastIndexByte(text, '\n')+1:]
	if !whole || !bytes.HasPrefix(text, []byte(`{"visits"`)) || json.Unmarshal(text, &end) != nil {
		return sizing.TraceEnd{}, false
	}
	return end, true
}
