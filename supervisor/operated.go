package supervisor

import (
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
)

// Operated is what operators have changed in a bulkhead and no reload has undone: a
// successor goes on with it. The zero value is nothing.
type Operated struct {
	Drained bool         `json:"drained,omitempty"`
	Breaker breaker.Mode `json:"breaker,omitempty"` // empty: as configured, as for 0
	Workers int          `json:"workers,omitempty"`
	Limit   int          `json:"limit,omitempty"` // fixed
}

// operated is that of all bulkheads where there is any.
func (s *Supervisor) operated() map[string]Operated {
	all := make(map[string]Operated)
	for _, c := range s.config.Load().Bulkheads {
		if b := s.find(c.Name); b != nil {
			if o := b.operated(&c); o != (Operated{}) {
				all[c.Name] = o
			}
		}
	}
	return all
}

// operated is how b differs from its configuration.
func (b *Bulkhead) operated(c *BulkheadConfig) (o Operated) {
	set := b.settings.Load()
	o.Drained = b.draining.Load()
	if mode := b.breaker.Stats(time.Now()).Mode; mode != c.BreakerMode {
		o.Breaker = mode
	}
	if set.Workers != c.Workers {
		o.Workers = set.Workers
	}
	if set.Limit != c.Limit || set.Adaptive != c.Adaptive {
		o.Limit = set.Limit
	}
	return o
}

// of is c with what operators have changed.
func (o Operated) of(c BulkheadConfig) BulkheadConfig {
	switch o.Breaker {
	case breaker.Auto, breaker.Open, breaker.Closed, breaker.Observe: // and none that only another version knows
		c.BreakerMode = o.Breaker
	}
	if o.Workers > 0 && !c.Fallback.Always {
		c.Workers = o.Workers
	}
	if o.Limit > 0 {
		c.Limit, c.Adaptive = o.Limit, adaptive.Settings{}
	}
	return c
}
