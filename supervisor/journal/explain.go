package journal

import "context"

// maxStories bounds the stories of one id: clients repeat ids.
const maxStories = 1000

// Explanation is all that the journal can say about a request id.
type Explanation struct {
	RequestID string   `json:"request_id"`
	Stories   []*Story `json:"stories"`
	More      int      `json:"more,omitempty"` // stories beyond the first 1,000
	// Spans is for which times no story means that no request of that id was
	// recorded.
	Spans *Spans `json:"spans"`
}

// Explain tells what became of the requests with that id, in one pass.
func (r *Reader) Explain(ctx context.Context, id string) (*Explanation, error) {
	x := &Explanation{RequestID: id, Stories: []*Story{}}
	segments, err := r.listOrNothing()
	if err != nil {
		return nil, err
	}
	f := Filter{RequestID: cut(id, MaxTextBytes)}
	j := newJoin(f.want(), func(s *Story) error {
		switch {
		case !f.Match(s):
		case len(x.Stories) == maxStories:
			x.More++
		default:
			x.Stories = append(x.Stories, s)
		}
		return nil
	})
	c := newChronicle()
	err = r.walk(ctx, segments, func(s *segment, offset int64, line []byte) error {
		if err := c.visit(s, offset, line); err != nil {
			return err
		}
		return j.visit(s, offset, line)
	}, c.damaged)
	if err == nil {
		err = j.rest(segments)
	}
	if err == nil {
		x.Spans, err = c.spans(segments)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}
