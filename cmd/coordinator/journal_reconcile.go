package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
)

// reconcileCommand is coordinator journal reconcile.
type reconcileCommand struct {
	journaled
	span
	All  bool   `help:"List also what is done on both sides."`
	Ours bool   `help:"List also what the journal has and the list has not."`
	File string `arg:"" help:"Their list: CSV, or JSON lines with request_id or id; - is standard input."`
}

func (c *reconcileCommand) Help() string {
	return "In CSV the column is the one called request_id, x-request-id or id, or else the first. Every id of the list is looked " +
		"for in the whole journal; --bulkhead, --since and --until bound what the journal has and the list has not, so give " +
		"the times that the list is of. Up to a million ids. Exits with 0 when the two have been compared, whatever came of it."
}

// What happened to a request whose outcome does not say it.
const (
	notInJournal = "not_in_journal"
	notInList    = "not_in_list"
)

// happenings is what can have happened, that first which somebody has to look at.
var happenings = []string{
	string(supervisor.OutcomeSentUnknown), string(supervisor.OutcomePartial), string(supervisor.OutcomeUndelivered),
	string(supervisor.OutcomeNeverSent), string(supervisor.OutcomeRefused), string(journal.InFlight),
	notInJournal, notInList, string(supervisor.OutcomeDone),
}

var happeningMeans = map[string]string{
	string(supervisor.OutcomeSentUnknown): "sent, and no answer seen: ask the backend",
	string(supervisor.OutcomePartial):     "the answer began and did not finish",
	string(supervisor.OutcomeUndelivered): "answered, but the client did not get it",
	string(supervisor.OutcomeNeverSent):   "no byte of it reached the backend",
	string(supervisor.OutcomeRefused):     "it never left the coordinator",
	string(journal.InFlight):              "not ended yet",
	notInJournal:                          "the list has it, the journal has not",
	notInList:                             "the journal has it, the list has not",
	string(supervisor.OutcomeDone):        "answered, and the client has it",
}

// A reconciliation is what reconcile --json prints.
type reconciliation struct {
	IDs      int              `json:"ids"`   // in the list, each once
	Known    int              `json:"known"` // of them, in the journal
	Counts   map[string]int   `json:"counts"`
	Requests []reconciledItem `json:"requests"` // without not_in_list, unless they are asked for
	Spans    told             `json:"spans"`
}

type reconciledItem struct {
	RequestID string     `json:"request_id"`
	Happened  string     `json:"happened"`
	Story     *toldStory `json:"story,omitempty"`
}

// maxReconciled bounds the requests that are listed, which are held in memory so
// as to be sorted; all are counted.
const maxReconciled = journal.MaxReconcile

func (c *reconcileCommand) Run(t *terminal) error {
	r, f, err := c.open(t, c.filter)
	if err != nil {
		return err
	}
	list, err := c.list(t)
	if err != nil {
		return err
	}
	defer list.Close()
	result, err := c.compare(r, journal.ReadIDs(list), f)
	if err != nil {
		return readable(err)
	}
	if c.JSON {
		return writeJSON(t.stdout, result)
	}
	return c.write(t, result)
}

func (c *reconcileCommand) list(t *terminal) (io.ReadCloser, error) {
	if c.File == "-" {
		return io.NopCloser(t.stdin), nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("%s: %s; want a list of request ids, or - for standard input", c.File, fileCause(err))
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		f.Close()
		return nil, cmp.Or(err, fmt.Errorf("%s is a directory: want a list of request ids", c.File))
	}
	return f, nil
}

func (c *reconcileCommand) compare(r *journal.Reader, ids iter.Seq2[string, error], f journal.Filter) (*reconciliation, error) {
	ctx := context.Background()
	result := &reconciliation{Counts: make(map[string]int), Requests: []reconciledItem{}}
	for _, h := range happenings {
		result.Counts[h] = 0
	}
	known := make(map[string]bool)
	for m, err := range r.Reconcile(ctx, ids, f) {
		if err != nil {
			return nil, err
		}
		item := reconciledItem{RequestID: m.RequestID, Happened: happened(m)}
		if m.Story != nil {
			item.Story = newToldStory(m.Story)
		}
		result.Counts[item.Happened]++
		switch m.Side {
		case journal.Both:
			known[m.RequestID] = true
		case journal.Theirs:
			result.IDs++
		}
		if (m.Side != journal.Ours || c.Ours) && len(result.Requests) < maxReconciled {
			result.Requests = append(result.Requests, item)
		}
	}
	result.Known = len(known)
	result.IDs += len(known)
	if result.IDs == 0 {
		return nil, errors.New("the list has no ids: want CSV, or JSON lines with a member request_id or id")
	}
	slices.SortStableFunc(result.Requests, func(a, b reconciledItem) int {
		return slices.Index(happenings, a.Happened) - slices.Index(happenings, b.Happened)
	})
	spans, err := r.Spans(ctx)
	if err != nil {
		return nil, err
	}
	result.Spans = told{spans, spans.Complete()}
	return result, nil
}

func happened(m *journal.Match) string {
	switch {
	case m.Side == journal.Theirs:
		return notInJournal
	case m.Side == journal.Ours:
		return notInList
	case m.Story.State == journal.InFlight:
		return string(journal.InFlight)
	}
	return m.Story.Outcome
}

func (c *reconcileCommand) write(t *terminal, r *reconciliation) error {
	s := &sheet{colour: t.colour()}
	s.paragraph("", fmt.Sprintf("%s in the list, %d of them in the journal", counted(int64(r.IDs), "id"), r.Known), calm)
	s.WriteByte('\n')
	counts := table{columns: []column{{"WHAT HAPPENED", false}, {"REQUESTS", true}, {"WHICH MEANS", false}}}
	for _, h := range happenings {
		m := outcomeMoods[h]
		if r.Counts[h] == 0 {
			m = calm
		} else if h == notInJournal {
			m = alarm
		}
		counts.rows = append(counts.rows, row{cells: []cell{{h, m}, {fmt.Sprint(r.Counts[h]), m}, {happeningMeans[h], calm}}})
	}
	counts.write(s)
	if r.Counts[notInJournal] > 0 {
		s.coverage(r.Spans)
	}
	out := bufio.NewWriter(t.stdout)
	_, _ = out.WriteString(s.String()) // Flush reports it
	c.rows(out, r, t.colour())
	return out.Flush()
}

// coverage says what it means that an id is not in the journal.
func (s *sheet) coverage(spans told) {
	s.paragraph("\n", "The journal is complete for these times; what is not in it was not accepted in them, of the kinds that are recorded ("+
		recorded(spans.Scope)+"):", calm)
	const few = 10
	for _, c := range spans.Complete[:min(few, len(spans.Complete))] {
		fmt.Fprintf(s, "  %s to %s\n", instant(c.From), instant(c.To))
	}
	if more := len(spans.Complete) - few; more > 0 {
		fmt.Fprintf(s, "  and %d more\n", more)
	}
}

// rows lists the requests under what happened to them.
func (c *reconcileCommand) rows(out *bufio.Writer, r *reconciliation, colour bool) {
	heading := ""
	for _, item := range r.Requests {
		if item.Happened == string(supervisor.OutcomeDone) && !c.All {
			continue
		}
		s := &sheet{colour: colour}
		if item.Happened != heading {
			heading = item.Happened
			s.WriteByte('\n')
			s.put(heading, title)
			s.WriteByte('\n')
		}
		if item.Story == nil {
			s.paragraph("", item.RequestID, calm)
		} else {
			writeStoryRow(s, item.Story.Story)
		}
		_, _ = out.WriteString(s.String()) // Flush reports it
	}
}
