package supervisor

import (
	"slices"
	"sync"
)

// removed is the bulkheads that a reload has taken out of the table, while there may
// be calls in them: the watch looks at those too.
type removed struct {
	mu        sync.Mutex
	bulkheads []*Bulkhead
}

func (r *removed) add(bulkheads []*Bulkhead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bulkheads = append(r.bulkheads, bulkheads...)
}

// all is those of now. It forgets the others.
func (r *removed) all() []*Bulkhead {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bulkheads = slices.DeleteFunc(r.bulkheads, func(b *Bulkhead) bool { return b.retired.Load() && b.watch.empty() })
	return slices.Clone(r.bulkheads)
}
