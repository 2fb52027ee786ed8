package supervisor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/pool"
	"commerce.example/coordinator/supervisor/tracing"
)

// Options of a Supervisor. Config and BuiltIn are needed.
type Options struct {
	Config  Config
	BuiltIn BuiltIn
	Version string       // shown by status
	Log     hclog.Logger // nil: none
	// LogDropped is how many log lines were lost so far; nil: none ever are.
	LogDropped func() uint64
	// Load reads the configuration again, for Reload; nil: Reload is refused.
	Load func() (Config, error)
	// Serving is called once the front serves, Stopping when the drain begins,
	// and Replaced instead of it when a successor serves: for a service manager
	// that wants to know.
	Serving  func()
	Stopping func()
	Replaced func(pid int)
	// Successor says how to start this program again, for Upgrade; nil: Upgrade
	// is refused.
	Successor func() (path string, args, env []string, err error)
	// Handover is what an earlier supervisor handed down; nil: nothing.
	Handover *Handover
	// Stdout is where the access log goes that has no file; nil: it needs one.
	Stdout io.Writer
	// Tracer is told of requests, and stays its owner's; nil: nobody is.
	Tracer *tracing.Tracer
}

// Supervisor is the parent process: it holds the listeners, the router and the
// bulkheads. New makes one, Run is its life. The other methods are safe for
// concurrent use while it runs.
type Supervisor struct {
	options Options
	builtIn BuiltIn
	log     hclog.Logger
	config  atomic.Pointer[Config]
	since   time.Time

	generation *generation
	front      front
	limits     connLimits
	guards     guards
	metrics    *metrics
	server     *http.Server
	listeners  []*limitedListener
	admin      *adminListeners
	peers      pool.Peers
	memory     atomic.Pointer[memory] // nil: no worker has a limit
	evidence   *evidence
	journal    *journaling
	access     access
	keys       *keyring
	conns      atomic.Int64 // open on the front, upgraded ones not counted
	hijacked   atomic.Int64 // upgraded calls; see commons
	saidShort  atomic.Int64 // when the log last told of missing descriptors, in ns after since; 0: never

	state  atomic.Pointer[string]
	ticked atomic.Uint64 // by the watch

	handed   atomic.Bool   // a successor serves
	replaced chan struct{} // closed then

	operate  sync.Mutex // one reload, upgrade or drill at a time, and none during the stop
	reloads  reloads
	retired  map[string]chan struct{} // by bulkhead, closed when the pool that a reload replaced last has ended; operate guards it
	retiring sync.WaitGroup           // those pools
	removed  removed                  // bulkheads; the watch looks at their calls too
	life     context.Context          // ends when the stop begins
	endLife  context.CancelFunc
	drill    drillToken
	advisory *advisory
	hard     context.Context // ends every drain
}

// The states of a Supervisor.
const (
	stateStarting = "starting"
	stateReady    = "ready"
	stateDraining = "draining"
)

// New checks what can be checked without taking anything.
func New(o Options) (*Supervisor, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	o.Config.FrontLimits = o.Config.FrontLimits.WithDefaults()
	s := &Supervisor{
		options: o, builtIn: o.BuiltIn, log: o.Log, since: time.Now(), metrics: newMetrics(),
		replaced: make(chan struct{}), retired: make(map[string]chan struct{}), advisory: newAdvisory(),
	}
	s.life, s.endLife = context.WithCancel(context.Background())
	s.setState(stateStarting)
	s.config.Store(&o.Config)
	s.evidence = newEvidence(o.Config.StateDir, o.Log)
	s.journal = newJournaling(o.Config.StateDir, s.metrics, o.Log)
	s.access.stdout, s.access.log, s.access.journal = o.Stdout, o.Log, s.journal
	s.front.ids, s.front.access, s.front.tracer = NewRequestIDs(), &s.access, o.Tracer
	s.keys = newKeyring(o.Config.StateDir, o.Log)
	s.front.stats = newBulkheadStats(s.metrics, "none", s.since)
	s.applyFrontLimits(&o.Config)
	router, err := NewRouter(routesOf(o.Config.Bulkheads), o.Config.Head)
	if err != nil {
		return nil, err
	}
	s.front.table.Store(&table{router: router})
	s.metrics.registry.MustRegister(newGauges(s.bulkheads), newJournalGauges(s.journal))
	s.metrics.countAccess(s.access.counts.Stats)
	if o.Tracer != nil {
		s.metrics.countSpans(o.Tracer.Stats)
	}
	if o.LogDropped != nil {
		s.metrics.countDropped(o.LogDropped)
	}
	return s, nil
}

func routesOf(bulkheads []BulkheadConfig) []RouteTo {
	var routes []RouteTo
	for i, b := range bulkheads {
		for _, r := range b.Routes {
			routes = append(routes, RouteTo{Route: r, To: i, Raw: b.RawPath})
		}
	}
	return routes
}

func (s *Supervisor) setState(state string) { s.state.Store(&state) }

func (s *Supervisor) bulkheads() []*Bulkhead { return s.front.table.Load().bulkheads }

// applyFrontLimits sets what a reload may change at the front.
func (s *Supervisor) applyFrontLimits(c *Config) {
	trusted := TrustedProxies(c.TrustedProxies)
	s.front.trusted.Store(&trusted)
	s.limits.all.Store(int64(c.Conns))
	s.limits.perClient.Store(int64(c.ConnsPerClient))
}

// startWait bounds how long the front waits for the first workers: a pool that
// takes longer answers no_worker meanwhile.
const startWait = 15 * time.Second

// Run serves until ctx ends, or a successor does, then drains and returns. hard
// cuts the drain short. The error says what could not be started; nothing is
// left running then.
func (s *Supervisor) Run(ctx, hard context.Context) error {
	config, from := s.config.Load(), s.options.Handover
	gen, err := openGeneration(config.StateDir, config.RuntimeDir, from.file(lockFileOf))
	if err != nil {
		return err
	}
	defer gen.close()
	s.generation, s.hard = gen, hard
	defer context.AfterFunc(ctx, s.endLife)()
	defer s.endLife()
	if err := s.limitMemory(config.Bulkheads); err != nil {
		return err
	}
	defer s.releaseMemory()
	if err := s.access.apply(config.Access); err != nil {
		return err
	}
	defer s.access.close()
	if err := s.journal.open(config); err != nil {
		return err
	}
	defer s.journal.close()
	if err := s.keys.open(config.Bulkheads); err != nil {
		return err
	}
	if err := s.listen(config, from); err != nil {
		return err
	}
	s.limits.spare.take()
	defer s.limits.spare.release()
	if s.admin, err = s.openAdmin(config, from); err != nil {
		s.closeListeners()
		return err
	}
	from.closeRest()
	if from == nil { // before any worker starts, so that a start that hangs can be looked at
		s.admin.serve()
	}
	defer s.admin.close()

	defer s.evidence.close() // when pools and watch have ended
	begun := time.Now()
	s.startBulkheads(config)
	s.restoreKeys(ctx) // while the workers start
	stopWatch := s.startWatch()
	defer stopWatch()
	s.awaitWorkers(ctx)
	if from != nil {
		if err := from.takeOver(s.unready()); err != nil {
			s.giveUp()
			return err
		}
		s.keys.restore(ctx, keysOf(s.bulkheads()), begun, s.journal.runs()) // what the old one has sent since; from now on it sends none
		defer s.followKeys(begun)()
		s.admin.serve()
	}
	served := s.serve()
	s.setState(stateReady)
	s.log.Info("serving", "listen", config.Listen, "bulkheads", len(config.Bulkheads))
	if from != nil {
		_ = from.say("serving") // an old one that is gone does not need to know
	}
	if s.options.Serving != nil {
		s.options.Serving()
	}
	select {
	case <-ctx.Done():
	case <-s.replaced:
		s.admin.close() // who asks now is to be answered by the successor
	case err = <-served:
		err = fmt.Errorf("front: %w", err)
	}
	s.endLife() // a reload or an upgrade that is under way makes room
	s.stop(hard)
	return err
}

func (s *Supervisor) startBulkheads(config *Config) {
	bulkheads := make([]*Bulkhead, len(config.Bulkheads))
	for i, c := range config.Bulkheads {
		operated := s.options.Handover.operated(c.Name)
		bulkheads[i] = s.start(operated.of(c))
		bulkheads[i].draining.Store(operated.Drained)
	}
	breach(bulkheads)
	s.front.table.Store(&table{router: s.front.table.Load().router, bulkheads: bulkheads})
}

// giveUp undoes a start that came to nothing. Paths and sockets stay the old
// supervisor's.
func (s *Supervisor) giveUp() {
	for _, ln := range s.admin.listeners {
		if u, ok := ln.(*unixSocket); ok {
			u.leave()
		}
	}
	for _, ln := range s.listeners {
		if u, ok := ln.Listener.(*unixSocket); ok {
			u.leave()
		}
	}
	s.admin.closeUnserved()
	s.closeListeners()
	for _, b := range s.bulkheads() {
		s.discard(b.pool.Load())
	}
}

func (s *Supervisor) commons() commons {
	return commons{journal: s.journal, access: &s.access, keyring: s.keys, hijacked: &s.hijacked}
}

// start makes a bulkhead and begins to start its workers.
func (s *Supervisor) start(c BulkheadConfig) *Bulkhead {
	now := time.Now()
	b := newBulkhead(c, s.options.Handover.limit(c.Name), s.commons(), newBulkheadStats(s.metrics, c.Name, now), now)
	b.pool.Store(s.newPool(b, c))
	return b
}

func (s *Supervisor) awaitWorkers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for _, b := range s.bulkheads() {
		select {
		case <-b.pool.Load().Tried():
		case <-ctx.Done():
			return
		}
	}
}
