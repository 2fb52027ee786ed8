package snapshot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/sanitise"
	"commerce.example/coordinator/supervisor/fallback/shape"
)

// Options is what to do.
type Options struct {
	Dir     string        // the folder, with requests and rules
	Base    *url.URL      // where to ask: scheme and host
	Client  *http.Client  // must not follow redirections
	Header  http.Header   // of every request; credentials
	Timeout time.Duration // of one request, above 0
	DryRun  bool          // write nothing
	Verify  bool          // compare what is stored with what is answered; write nothing
}

// A Result is what became of one answer.
type Result string

const (
	New       Result = "new"
	Changed   Result = "changed"
	Unchanged Result = "unchanged" // but for the time that it is from
	Refused   Result = "refused"   // by a detector
	Failed    Result = "failed"
	Same      Result = "same"    // shape, of Verify
	Drifted   Result = "drifted" // of Verify
)

// A Row is one answer.
type Row struct {
	File    string   `json:"file"`
	Pattern string   `json:"pattern"`
	Result  Result   `json:"result"`
	Bytes   int      `json:"bytes"` // of the body; 0 when nothing is kept
	Why     []string `json:"why"`   // never anything of the answer but paths and types
}

// OK reports whether nothing is wrong.
func (r Row) OK() bool { return r.Result != Refused && r.Result != Failed && r.Result != Drifted }

// A run is one time that the command runs.
type run struct {
	Options
	rules  *sanitise.Rules
	stored []backup.Entry
}

// Run does what o says, one request after the other. The rows are in the order of
// the requests, those that nobody asks for behind them. The error is that there is
// nothing that can be done: files that are not there or have mistakes.
func Run(ctx context.Context, o Options) ([]Row, error) {
	path, text, err := readFile(o.Dir, backup.RequestsFile)
	if err != nil {
		return nil, err
	}
	requests, err := readRequests(path, text)
	if err != nil {
		return nil, err
	}
	if path, text, err = readFile(o.Dir, backup.RulesFile); err != nil {
		return nil, err
	}
	r := run{Options: o}
	if r.rules, err = sanitise.Parse(path, text); err != nil {
		return nil, err
	}
	set, err := backup.Load(o.Dir, backup.Bounds{})
	if err != nil {
		return nil, err
	}
	r.stored = set.Entries()
	rows := make([]Row, 0, len(requests))
	for _, q := range requests {
		if ctx.Err() != nil {
			return rows, ctx.Err()
		}
		rows = append(rows, r.row(ctx, q))
	}
	return append(rows, r.others(requests)...), nil
}

func (r *run) row(ctx context.Context, q request) Row {
	row := Row{File: q.file, Pattern: q.pat.String(), Why: []string{}}
	entry, err := r.live(ctx, q)
	if err != nil {
		return row.fail(err)
	}
	answer := answerOf(entry, r.privates(q))
	body, findings, err := r.rules.Apply(ctx, answer)
	switch {
	case err != nil:
		return row.fail(err)
	case len(findings) > 0:
		return row.refuse("", findings)
	}
	entry.Body, row.Bytes = body, len(body)
	if r.Verify {
		return r.verify(row, q, entry)
	}
	return r.keep(row, entry)
}

func answerOf(e backup.Entry, private []string) sanitise.Answer {
	return sanitise.Answer{
		File: e.File, Pattern: e.Pattern.String(), Header: e.Header,
		JSON: backup.IsJSON(e.Header.Get("Content-Type")), Body: e.Body, Private: private,
	}
}

func (row Row) fail(err error) Row {
	row.Result, row.Bytes, row.Why = Failed, 0, append(row.Why, err.Error())
	return row
}

func (row Row) refuse(where string, findings []sanitise.Finding) Row {
	row.Result, row.Bytes = Refused, 0
	for _, f := range findings {
		row.Why = append(row.Why, where+f.String())
	}
	return row
}

// find is the stored answer in that file.
func (r *run) find(file string) (backup.Entry, bool) {
	i := slices.IndexFunc(r.stored, func(e backup.Entry) bool { return e.File == file })
	if i < 0 {
		return backup.Entry{}, false
	}
	return r.stored[i], true
}

// keep writes e, unless nothing is to be written.
func (r *run) keep(row Row, e backup.Entry) Row {
	before, found := r.find(e.File)
	row.Result = New
	if found {
		row.Result = Changed
		if sameAnswer(before, e) {
			row.Result = Unchanged
		}
	}
	for _, other := range r.stored {
		if err := backup.Conflict(e.Pattern, other.Pattern); err != nil && other.File != e.File {
			return row.fail(fmt.Errorf("%w, of %s", err, other.File))
		}
	}
	if r.DryRun {
		return row
	}
	if err := backup.Write(r.Dir, e); err != nil {
		return row.fail(err)
	}
	return row
}

func sameAnswer(a, b backup.Entry) bool {
	return a.Pattern.String() == b.Pattern.String() && a.Status == b.Status && string(a.Body) == string(b.Body) &&
		slices.EqualFunc(Kept(), Kept(), func(name, _ string) bool { return slices.Equal(a.Header[name], b.Header[name]) })
}

// verify compares the stored answer with now, the one that would be stored.
func (r *run) verify(row Row, q request, now backup.Entry) Row {
	stored, found := r.find(q.file)
	if !found {
		return row.fail(fmt.Errorf("%s is not there; want it made without --verify", q.file))
	}
	findings, err := r.rules.Inspect(answerOf(stored, r.privates(q)))
	switch {
	case err != nil:
		return row.fail(err)
	case len(findings) > 0:
		return row.refuse("stored ", findings)
	}
	was, is := stored.Header.Get("Content-Type"), now.Header.Get("Content-Type")
	if stored.Status != now.Status {
		row.Why = append(row.Why, fmt.Sprintf("status was %d and is %d", stored.Status, now.Status))
	}
	if backup.IsJSON(was) != backup.IsJSON(is) {
		row.Why = append(row.Why, "only one of both is JSON")
	} else if backup.IsJSON(was) {
		before, errBefore := shape.Of(stored.Body)
		after, errAfter := shape.Of(now.Body)
		switch {
		case errors.Is(errBefore, shape.ErrTooVaried) || errors.Is(errAfter, shape.ErrTooVaried):
			row.Why = append(row.Why, "one of both has "+shape.ErrTooVaried.Error())
		case errBefore != nil || errAfter != nil:
			row.Why = append(row.Why, "one of both is no JSON")
		default:
			row.Why = append(row.Why, shape.Drift(before, after)...)
		}
	}
	row.Result = Same
	if len(row.Why) > 0 {
		row.Result = Drifted
	}
	return row
}

// others is a row for each stored answer that no request makes, of which only the
// detectors can say something.
func (r *run) others(requests []request) (rows []Row) {
	for _, e := range r.stored {
		if slices.ContainsFunc(requests, func(q request) bool { return q.file == e.File }) {
			continue
		}
		row := Row{File: e.File, Pattern: e.Pattern.String(), Result: Unchanged, Bytes: len(e.Body), Why: []string{"no request makes it"}}
		findings, err := r.rules.Inspect(answerOf(e, nil))
		if err != nil {
			row = row.fail(err)
		} else if len(findings) > 0 {
			row = row.refuse("stored ", findings)
		}
		rows = append(rows, row)
	}
	return rows
}
