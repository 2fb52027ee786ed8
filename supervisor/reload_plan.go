package supervisor

import (
	"fmt"
	"reflect"
	"slices"

	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/pool"
)

// revision is one bulkhead's part of a reload.
type revision struct {
	bulkhead *Bulkhead // nil until commit for one that is new
	from, to BulkheadConfig
	cells    uint32 // of each worker that there is
	added    bool
	pool     *pool.Pool         // new workers; nil: the old ones do
	kept     bool               // they did not get ready
	keys     *idempotency.Store // where it had none; nil: it had, or is to have none
}

type reloadPlan struct {
	revisions []*revision
	removed   []*Bulkhead
}

func (s *Supervisor) plan(config Config) *reloadPlan {
	p := &reloadPlan{}
	for _, c := range config.Bulkheads {
		b := s.find(c.Name)
		if b == nil {
			p.revisions = append(p.revisions, &revision{to: c, added: true})
			continue
		}
		set := b.settings.Load()
		p.revisions = append(p.revisions, &revision{bulkhead: b, from: set.BulkheadConfig, cells: set.cells, to: c})
	}
	for _, b := range s.bulkheads() {
		name := b.settings.Load().Name
		if !slices.ContainsFunc(config.Bulkheads, func(c BulkheadConfig) bool { return c.Name == name }) {
			p.removed = append(p.removed, b)
		}
	}
	return p
}

// needsWorkers reports whether the workers of a bulkhead would see the change,
// or have too few connections for it.
func (c *revision) needsWorkers() bool {
	return c.added || !reflect.DeepEqual(c.from.Worker, c.to.Worker) || c.to.conns() > c.cells ||
		c.to.heapTarget() != c.from.heapTarget() || c.to.hardDescriptors() != c.from.hardDescriptors()
}

func (c *revision) changed() bool { return c.added || !reflect.DeepEqual(c.from, c.to) }

func (p *reloadPlan) touched() []string {
	names := []string{}
	for _, c := range p.revisions {
		if c.changed() {
			names = append(names, c.to.Name)
		}
	}
	for _, b := range p.removed {
		names = append(names, b.settings.Load().Name)
	}
	return names
}

func (p *reloadPlan) summary() string {
	var added, renewed, inPlace int
	for _, c := range p.revisions {
		switch {
		case c.added:
			added++
		case c.pool != nil:
			renewed++
		case c.changed() && !c.kept:
			inPlace++
		}
	}
	return fmt.Sprintf("added %d, new workers for %d, changed in place %d, removed %d, untouched %d",
		added, renewed, inPlace, len(p.removed), len(p.revisions)-added-renewed-inPlace)
}
