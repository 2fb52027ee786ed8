package journal

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Side says in whose list a request is.
type Side string

// The sides.
const (
	Both   Side = "both"
	Theirs Side = "theirs" // the journal has no request with that id
	Ours   Side = "ours"   // the other party's list has not
)

// Match is one request of a comparison.
type Match struct {
	RequestID string `json:"request_id"`
	Side      Side   `json:"side"`
	Story     *Story `json:"story,omitempty"` // nil: theirs
}

// MaxReconcile is how many ids the other party's list may have: they are held in
// memory.
const MaxReconcile = 1_000_000

// Reconcile compares the other party's ids with the stories that f lets through.
// An id of theirs is matched whatever f says; f bounds what is ours alone. Of an
// id that several requests had, each is told. What is theirs alone comes last.
func (r *Reader) Reconcile(ctx context.Context, ids iter.Seq2[string, error], f Filter) iter.Seq2[*Match, error] {
	return func(yield func(*Match, error) bool) {
		if err := r.reconcile(ctx, ids, f, func(m *Match) bool { return yield(m, nil) }); err != nil && !stopped(err) {
			yield(nil, err)
		}
	}
}

func (r *Reader) reconcile(ctx context.Context, ids iter.Seq2[string, error], f Filter, yield func(*Match) bool) error {
	found := make(map[string]bool)
	for id, err := range ids {
		if err != nil {
			return err
		}
		if found[cut(id, MaxTextBytes)] = false; len(found) > MaxReconcile {
			return fmt.Errorf("journal: more than %d ids to compare", MaxReconcile)
		}
	}
	segments, err := r.listOrNothing()
	if err != nil {
		return err
	}
	err = r.stories(ctx, segments, func([]byte) bool { return true }, func(s *Story) error {
		m := &Match{RequestID: s.RequestID, Side: Ours, Story: s}
		if _, theirs := found[s.RequestID]; theirs {
			found[s.RequestID], m.Side = true, Both
		}
		if (m.Side == Both || f.Match(s)) && !yield(m) {
			return errStop
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.DeleteFunc(found, func(_ string, both bool) bool { return both })
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if !yield(&Match{RequestID: id, Side: Theirs}) {
			return errStop
		}
	}
	return nil
}

// ReadIDs reads the other party's list: JSON lines with a member request_id or id,
// or CSV, whose column is the one that its first line calls so, or else the first.
// Empty ids are left out.
func ReadIDs(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		in := bufio.NewReader(r)
		first, err := firstByte(in)
		switch {
		case errors.Is(err, io.EOF):
		case err != nil:
			yield("", err)
		case first == '{':
			readJSON(in, yield)
		default:
			readCSV(in, yield)
		}
	}
}

// firstByte is the first that is no white space nor byte order mark.
func firstByte(in *bufio.Reader) (byte, error) {
	if bom, err := in.Peek(3); err == nil && string(bom) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	for {
		b, err := in.Peek(1)
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(b[0])) {
			return b[0], nil
		}
		_, _ = in.Discard(1)
	}
}

func readJSON(in io.Reader, yield func(string, error) bool) {
	dec := json.NewDecoder(in)
	for n := 1; ; n++ {
		var item struct {
			RequestID string `json:"request_id"`
			ID        string `json:"id"`
		}
		err := dec.Decode(&item)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield("", fmt.Errorf("item %d of the list: %w", n, err))
			return
		}
		id := item.RequestID
		if id == "" {
			id = item.ID
		}
		if id != "" && !yield(id, nil) {
			return
		}
	}
}

func readCSV(in io.Reader, yield func(string, error) bool) {
	rows := csv.NewReader(in)
	rows.FieldsPerRecord, rows.ReuseRecord, rows.TrimLeadingSpace = -1, true, true
	column := 0
	for n := 1; ; n++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield("", fmt.Errorf("the list: %w", err))
			return
		}
		if n == 1 {
			if i := slices.IndexFunc(row, isIDColumn); i >= 0 {
				column = i
				continue
			}
		}
		if column >= len(row) {
			continue
		}
		if id := strings.TrimSpace(row[column]); id != "" && !yield(id, nil) {
			return
		}
	}
}

func isIDColumn(name string) bool {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "request_id", "x-request-id", "id":
		return true
	}
	return false
}
