package journal

import "context"

// maxStories bounds the stories of one id: clients repeat ids.
const maxStories = 1000

// Explanation is all that the journal can say about a request id.
type Explanation struct {
	RequestID string   `json:"request_id"`
	Stories   []*Story `json:"stories"`
	More      int      `json:"more,omitempty"` // stories beyond the first 1,000
	// Replays is the requests that were sent again for one of Stories, the first
	// 1,000.
	Replays []*Story `json:"replays,omitempty"`
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
	f, replays := Filter{RequestID: cut(id, MaxTextBytes)}, Filter{ReplayOf: cut(id, MaxTextBytes)}
	own, again := f.want(), replays.want()
	j := newJoin(func(line []byte) bool { return own(line) || again(line) }, func(s *Story) error {
		switch {
		case id != "" && replays.Match(s):
			if len(x.Replays) < maxStories {
				x.Replays = append(x.Replays, s)
			}
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
