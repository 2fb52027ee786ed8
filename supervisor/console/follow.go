package console

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// align has a track for each bulkhead of a reading and for no other, and reports
// whether their order is another one than before.
func (f *Feed) align(bulkheads []Bulkhead) (changed bool) {
	order := make([]string, len(bulkheads))
	tracks := make(map[string]*track, len(bulkheads))
	for i := range bulkheads {
		name := bulkheads[i].Name
		order[i] = name
		if tracks[name] = f.tracks[name]; tracks[name] == nil {
			tracks[name] = new(track)
		}
	}
	changed = !slices.Equal(order, f.order)
	f.tracks, f.order = tracks, order
	return changed
}

// changes is what listeners do not know yet; nil: nothing.
func (f *Feed) changes(r *Reading, reordered bool) []byte {
	var u update
	for i := range r.Bulkheads {
		b := &r.Bulkheads[i]
		if t := f.tracks[b.Name]; t.encode(b) {
			u.Bulkheads = append(u.Bulkheads, t.encoded)
		}
	}
	if reordered {
		u.Order = f.order
	}
	if shown := quote(r.Shown); !bytes.Equal(shown, f.shown) {
		f.shown, u.Supervisor = shown, shown
	}
	if u.Order == nil && u.Supervisor == nil && u.Bulkheads == nil {
		return nil
	}
	return quote(u)
}

type update struct {
	Supervisor json.RawMessage   `json:"supervisor,omitempty"`
	Bulkheads  []json.RawMessage `json:"bulkheads,omitempty"`
	Order      []string          `json:"order,omitempty"`
}

// bulkheadEvent is a bulkhead as listeners get it.
type bulkheadEvent struct {
	Name  string `json:"name"`
	Now   rates  `json:"now"`
	Shown any    `json:"shown"`
}

// rates are those of the last 10 s, a second.
type rates struct {
	Requests figure `json:"requests"`
	Failed   figure `json:"failed"`
	Refused  figure `json:"refused"`
	Fallback figure `json:"fallback"`
}

// figure is a number of which three digits are told: a change that nobody would see
// need not be sent.
type figure float64

// MarshalJSON implements json.Marshaler.
func (x figure) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(x), 'g', 3, 64), nil
}

// encode reports whether b is another one than listeners know.
func (t *track) encode(b *Bulkhead) bool {
	text := quote(bulkheadEvent{b.Name, rates{figure(t.now[0]), figure(t.now[1]), figure(t.now[2]), figure(t.now[3])}, b.Shown})
	if bytes.Equal(text, t.encoded) {
		return false
	}
	t.encoded = text
	return true
}

// snapshot is all that a new listener has to know.
func (f *Feed) snapshot(now time.Time) []byte {
	to := append([]byte(`{"supervisor":`), f.shown...)
	to = append(to, `,"bulkheads":[`...)
	for i, name := range f.order {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(to, f.tracks[name].encoded...)
	}
	to = append(to, `],"columns":`...)
	to = append(to, quote(columns)...)
	to = append(to, `,"every_s":`...)
	to = strconv.AppendFloat(to, SampleEvery.Seconds(), 'g', -1, 64)
	to = append(to, `,"ages_s":[`...)
	for i := max(0, f.samples-Kept); i < f.samples; i++ {
		if to[len(to)-1] != '[' {
			to = append(to, ',')
		}
		to = strconv.AppendFloat(to, now.Sub(f.times[i%Kept]).Seconds(), 'f', 1, 64)
	}
	to = append(to, `],"history":{`...)
	for i, name := range f.order {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(to, quote(name)...), ':')
		to = f.tracks[name].history(to)
	}
	return append(to, "}}"...)
}
