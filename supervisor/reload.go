package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/pool"
)

// Reload reads the configuration again. A bad one is refused whole. A bulkhead
// whose workers see a change gets new ones, which must be ready before the old
// ones drain; if they are not, that bulkhead keeps its configuration. All other
// changes are applied in place, and what has not changed is not touched.
//
// Calls that come while a reload runs share the next one, and its report. It is
// given up when ctx has ended for all of them, or when the supervisor stops.
func (s *Supervisor) Reload(ctx context.Context) Report {
	x, first := s.reloads.join(s.life)
	defer context.AfterFunc(ctx, func() { s.reloads.leave(x, context.Cause(ctx)) })()
	if first {
		s.runReload(x)
		return x.report
	}
	select {
	case <-x.done:
		return x.report
	case <-ctx.Done():
		return Report{Action: "reload", Bulkheads: []string{}, Error: fmt.Sprintf("not waited for (%v): it goes on for others who asked", context.Cause(ctx))}
	}
}

// runReload is one reload, once its turn has come.
func (s *Supervisor) runReload(x *sharedReload) {
	defer close(x.done)
	defer x.giveUp(nil)
	defer s.drill.bar("a reload")()
	begun := time.Now()
	s.operate.Lock()
	defer s.operate.Unlock()
	asked := s.reloads.begin(x)
	r := &x.report
	r.Action, r.Bulkheads = "reload", []string{}
	err := s.reload(x.ctx, r)
	r.took(begun)
	s.metrics.operated(r.Action, err)
	if err != nil {
		r.Error = err.Error()
		s.log.Error("reload failed", "error", err, "details", r.Details, "asked", asked, "took_ms", r.TookMS)
	} else {
		s.log.Info("reloaded", "did", r.Did, "details", r.Details, "asked", asked, "took_ms", r.TookMS)
	}
}

func (s *Supervisor) reload(ctx context.Context, r *Report) error {
	if s.options.Load == nil {
		return errors.New("this supervisor has no configuration to read again")
	}
	if state := *s.state.Load(); state != stateReady {
		return fmt.Errorf("the supervisor is %s", state)
	}
	if err := begins(ctx); err != nil {
		return err
	}
	r.Details = append(r.Details, s.access.reopen(ctx)...) // whatever the configuration is: the file was moved
	config, err := s.options.Load()
	if err != nil {
		r.Details = append(r.Details, strings.Split(err.Error(), "\n")...)
		return errors.New("the configuration has mistakes; the running one stays")
	}
	config.FrontLimits = config.FrontLimits.WithDefaults()
	if err := s.limitMemory(config.Bulkheads); err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	r.Details = append(r.Details, s.keepFixed(&config)...)

	if err := s.journal.open(&config); err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	if err := s.keys.open(config.Bulkheads); err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	plan := s.plan(config)
	if err := s.awaitRetired(ctx, plan); err != nil {
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	kept, lacking := s.startNewPools(ctx, plan)
	s.restorePlanned(ctx, plan)
	if ctx.Err() != nil {
		s.abandon(plan)
		return fmt.Errorf("the running configuration stays: given up (%w)", context.Cause(ctx))
	}
	r.Details = append(append(r.Details, kept...), lacking...)
	next := make([]BulkheadConfig, len(plan.revisions))
	for i, c := range plan.revisions {
		next[i] = c.to
	}
	router, err := NewRouter(routesOf(next), config.Head)
	if err != nil {
		s.abandon(plan)
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	if err := s.access.apply(config.Access); err != nil {
		s.abandon(plan)
		return fmt.Errorf("the running configuration stays: %w", err)
	}
	r.Details = append(r.Details, s.commit(plan, router, config, next)...)
	r.Bulkheads = plan.touched()
	r.Did = plan.summary()
	var failed []string
	if len(kept) > 0 {
		failed = append(failed, plural(len(kept), "bulkhead")+" kept the old configuration")
	}
	if len(lacking) > 0 {
		failed = append(failed, plural(len(lacking), "new bulkhead")+" without all workers")
	}
	if failed != nil {
		return errors.New(strings.Join(failed, ", "))
	}
	return nil
}

// keepFixed keeps what only a new process can change, and says so.
func (s *Supervisor) keepFixed(c *Config) (said []string) {
	old := s.config.Load()
	keep := func(name string, differs bool) {
		if differs {
			said = append(said, name+" changed: it takes effect when the supervisor is started anew")
		}
	}
	keep("COORDINATOR_LISTEN", !slices.Equal(c.Listen, old.Listen))
	keep("COORDINATOR_TLS_CERT, _TLS_KEY", c.TLSCert != old.TLSCert || c.TLSKey != old.TLSKey)
	keep("COORDINATOR_ADMIN_LISTEN", c.AdminListen != old.AdminListen)
	keep("COORDINATOR_ADMIN_SOCKET", c.AdminSocket != old.AdminSocket)
	keep("COORDINATOR_ADMIN_TOKEN", c.AdminToken != old.AdminToken)
	keep("COORDINATOR_STATE_DIR", c.StateDir != old.StateDir || c.RuntimeDir != old.RuntimeDir)
	keep("COORDINATOR_JOURNAL_*", c.Journal != old.Journal)
	keep("OTEL_*", !maps.Equal(c.Telemetry, old.Telemetry))
	s.keepLimits(&c.FrontLimits, keep)
	c.Listen, c.TLSCert, c.TLSKey = old.Listen, old.TLSCert, old.TLSKey
	c.AdminListen, c.AdminSocket, c.AdminToken = old.AdminListen, old.AdminSocket, old.AdminToken
	c.StateDir, c.RuntimeDir, c.Journal, c.Telemetry = old.StateDir, old.RuntimeDir, old.Journal, old.Telemetry
	return said
}

// commit makes the plan the running configuration: requests that come from now
// on see all of it. It returns what to say of it.
func (s *Supervisor) commit(p *reloadPlan, router *Router, config Config, next []BulkheadConfig) (said []string) {
	t := &table{router: router}
	old := make(map[string]*pool.Pool)
	for _, c := range p.revisions {
		b := c.bulkhead
		if c.added {
			b.pool.Store(c.pool)
		} else if !c.kept {
			before, err := b.apply(c)
			if err != nil {
				said = append(said, fmt.Sprintf("%s: keeps its IDEMPOTENCY_* settings: %v", c.to.Name, err))
			}
			if before != nil {
				old[c.to.Name] = before
			}
		}
		t.bulkheads = append(t.bulkheads, b)
	}
	config.Bulkheads = next
	s.config.Store(&config)
	s.applyFrontLimits(&config)
	s.removed.add(p.removed)
	s.front.table.Store(t)
	s.journal.setScope(next)
	s.journal.bodies.setKeys(config.JournalKeys)

	said = append(said, s.resizePools(p)...)
	for name, before := range old {
		s.retire(name, before, config.DrainTimeout, func() {})
	}
	for _, b := range p.removed {
		name := b.settings.Load().Name
		s.retire(name, b.pool.Load(), config.DrainTimeout, func() {
			s.metrics.forget(name)
			b.retired.Store(true)
		})
	}
	return said
}

// apply changes in place what workers do not see, and replaces the workers where
// there are others; it returns those that it replaced, or nil. With an error the
// settings of its keys stay, and all others change.
func (b *Bulkhead) apply(r *revision) (replaced *pool.Pool, err error) {
	c, had := r.to, b.settings.Load() // of whose keys reloads alone decide
	keys, err := b.keyring.store(c.Idempotency, cmp.Or(had.keys, r.keys))
	if err != nil {
		c.Idempotency = had.Idempotency
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	now, before := time.Now(), b.settings.Load()
	next := newSettings(c, before, keys)
	if r.pool != nil {
		replaced, next.cells = b.pool.Swap(r.pool), c.conns()
	}
	b.settings.Store(next)
	if c.Limit == before.Limit && c.Adaptive == before.Adaptive {
		b.limiter.SetQueue(c.Queue) // an adaptive one keeps what it has found
	} else {
		b.setLimit(c, adaptive.Found{})
	}
	b.upgrades.Resize(c.UpgradeLimit, 0)
	b.breaker.Configure(now, c.Breaker)
	b.breaker.SetMode(now, c.BreakerMode)
	return replaced, err
}

// conns is how many data connections a worker of c may need. Far more than the
// limit, so that an operator can raise that without new workers: an unused one
// costs 64 bytes of memory that nobody touches.
func (c BulkheadConfig) conns() uint32 { return uint32(max(1024, 2*(c.Limit+c.UpgradeLimit))) }
