package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
)

// statsCommand is coordinator journal stats.
type statsCommand struct {
	journaled
	chosen
}

func (c *statsCommand) Run(t *terminal) error {
	r, f, err := c.open(t, c.filter)
	if err != nil {
		return err
	}
	sum, err := r.Stats(context.Background(), f)
	if err != nil {
		return readable(err)
	}
	if c.JSON {
		return writeJSON(t.stdout, sum)
	}
	return writeSummary(t.stdout, sum, t.colour())
}

func writeSummary(w io.Writer, sum *journal.Summary, colour bool) error {
	s := &sheet{colour: colour}
	s.paragraph("", fmt.Sprintf("%s in %s, %s", counted(sum.Stories, "request"), counted(int64(sum.Segments), "file"), memory(uint64(sum.Bytes))), calm)
	if sum.Stories > 0 {
		s.paragraph("", fmt.Sprintf("arrived from %s to %s", instant(sum.Oldest), instant(sum.Newest)), calm)
	}
	if len(sum.Outcomes) > 0 {
		s.WriteByte('\n')
		outcomeTable(sum.Outcomes).write(s)
		s.WriteByte('\n')
	}
	for _, line := range []struct {
		n    int64
		text string
		mood mood
	}{
		{sum.InFlight, "in flight", calm},
		{sum.Recovered, "closed by a later coordinator, because theirs died", watch},
		{sum.Unrecorded, "without a recorded end: counted as sent_unknown", alarm},
	} {
		if line.n > 0 {
			s.paragraph("", counted(line.n, "request")+" "+line.text, line.mood)
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// outcomeTable has a row for each bulkhead. Outcomes that are not known here,
// from a later version, are added up under OTHER.
func outcomeTable(outcomes map[string]map[string]int64) *table {
	titles := map[supervisor.Outcome]string{
		supervisor.OutcomeRefused: "REFUSED", supervisor.OutcomeNeverSent: "NEVER SENT", supervisor.OutcomeSentUnknown: "UNKNOWN",
		supervisor.OutcomePartial: "PARTIAL", supervisor.OutcomeUndelivered: "UNDELIVERED", supervisor.OutcomeDone: "DONE",
	}
	t := &table{columns: []column{{"BULKHEAD", false}}}
	for _, o := range supervisor.Outcomes() {
		t.columns = append(t.columns, column{titles[o], true})
	}
	t.columns = append(t.columns, column{"OTHER", true})
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		of := maps.Clone(outcomes[name])
		cells := []cell{{printable(name), calm}}
		for _, o := range supervisor.Outcomes() {
			n := of[string(o)]
			m := calm
			if n > 0 {
				m = outcomeMoods[string(o)]
			}
			cells = append(cells, cell{strconv.FormatInt(n, 10), m})
			delete(of, string(o))
		}
		other := int64(0)
		for _, n := range of {
			other += n
		}
		t.rows = append(t.rows, row{cells: append(cells, cell{strconv.FormatInt(other, 10), calm})})
	}
	return t
}

// verifyCommand is coordinator journal verify.
type verifyCommand struct{ journaled }

func (c *verifyCommand) Help() string {
	return "Every line has a checksum. Exits with 1 when any byte is damaged or missing. The line that was being written when " +
		"a coordinator died is no damage: nobody was told that it is there."
}

func (c *verifyCommand) Run(t *terminal) error {
	r, err := c.reader(t)
	if err != nil {
		return err
	}
	v, err := r.Verify(context.Background())
	if err != nil {
		return readable(err)
	}
	if c.JSON {
		err = writeJSON(t.stdout, struct {
			OK bool `json:"ok"`
			*journal.Verification
		}{v.OK(), v})
	} else {
		err = writeVerification(t.stdout, v, t.colour())
	}
	if err == nil && !v.OK() {
		return exitCode(exitFailed)
	}
	return err
}

func writeVerification(w io.Writer, v *journal.Verification, colour bool) error {
	s := &sheet{colour: colour}
	s.paragraph("", fmt.Sprintf("%s, %s, %s", counted(int64(v.Segments), "file"), memory(uint64(v.Bytes)), counted(v.Records, "record")), calm)
	if v.Foreign > 0 {
		s.paragraph("", counted(v.Foreign, "record")+" of another version: whole, and not read", watch)
	}
	if v.Torn > 0 {
		s.paragraph("", counted(int64(v.Torn), "file")+" with a torn end, as a death leaves it: no damage", calm)
	}
	if v.Unrecorded > 0 {
		s.paragraph("", counted(int64(v.Unrecorded), "request")+" without a recorded end: counted as sent_unknown", watch)
	}
	for _, d := range v.Damage {
		if d.Torn {
			continue
		}
		what := "damaged"
		if d.Missing {
			what = "cut off"
		}
		s.paragraph("", fmt.Sprintf("%s: %s %s at byte %d", d.Segment, counted(d.Bytes, "byte"), what, d.Offset), alarm)
	}
	if v.OK() {
		s.paragraph("", "no damage", calm)
	} else {
		s.paragraph("", fmt.Sprintf("DAMAGED in %s; all else is whole", counted(int64(v.Damaged), "place")), alarm)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// counted is n of something.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
