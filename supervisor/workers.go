package supervisor

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/pool"
)

// BuiltIn says how to start a worker of a built-in kind: the binary, and its
// arguments with the name first. ok is false for a kind that there is not.
type BuiltIn func(kind, bulkhead string, slot int) (path string, args []string, ok bool)

// newPool starts the workers of a bulkhead's configuration.
func (s *Supervisor) newPool(b *Bulkhead, c BulkheadConfig) *pool.Pool {
	log := s.log.With("bulkhead", c.Name)
	return pool.New(pool.Config{
		Size: c.Workers,
		Budget: func() pool.Budget {
			now := b.settings.Load().RestartBudget
			return pool.Budget{Faults: now.Faults, Per: now.Per}
		},
		Limits:       b.limits,
		Peers:        &s.peers,
		DrainTimeout: func() time.Duration { return s.config.Load().DrainTimeout },
		Spec:         func(slot int) (ipc.Spec, error) { return s.workerSpec(b, c, slot, log) },
		Witness:      func(lost pool.Loss) (string, func()) { return s.evidence.witness(b, lost) },
		Observe:      func(e pool.Event) { b.observe(e, log) },
	})
}

// workerSpec is how a worker of c is started. Its environment is made of
// nothing but its settings and the variables of its bulkhead.
func (s *Supervisor) workerSpec(b *Bulkhead, c BulkheadConfig, slot int, log hclog.Logger) (ipc.Spec, error) {
	path, args, ok := s.builtIn(c.Worker.Kind, c.Name, slot)
	if !ok {
		path, args = c.Worker.Kind, []string{c.Worker.Kind, "--bulkhead=" + c.Name, "--slot=" + strconv.Itoa(slot)}
	}
	env, err := workerEnv(c)
	if err != nil {
		return ipc.Spec{}, err
	}
	if err := s.generation.restore(); err != nil {
		return ipc.Spec{}, err
	}
	spec := ipc.Spec{
		Path: path, Args: args, Env: env, SocketDir: s.generation.dir,
		Conns: c.conns(), Descriptors: c.hardDescriptors(),
		Line: func(l process.Line) {
			line := log.With("slot", slot, "stream", l.Stream)
			if l.Dropped > 0 {
				b.stats.metrics.outputDropped.Add(float64(l.Dropped))
				line.Warn("worker output dropped", "lines", l.Dropped)
			}
			if l.Text != "" {
				line.Info("worker output", "line", l.Text, "cut", l.Cut)
			}
		},
	}
	return spec, s.confine(&spec, c)
}

// workerEnv is the environment of c's workers: WORKER_* tells them their
// settings. Files named by BULKHEAD_X_ENV_FOO_FILE are read anew at each start,
// so that a secret can be rotated by a restart.
func workerEnv(c BulkheadConfig) ([]string, error) {
	env := []string{"WORKER_BULKHEAD=" + c.Name}
	set := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	w := c.Worker
	set("WORKER_BACKEND", w.Backend)
	set("WORKER_STRIP_PREFIX", w.StripPrefix)
	if w.PreserveHost {
		set("WORKER_PRESERVE_HOST", "true")
	}
	set("WORKER_BACKEND_CA", w.BackendCA)
	set("WORKER_BACKEND_CERT", w.BackendCert)
	set("WORKER_BACKEND_KEY", w.BackendKey)
	set("WORKER_BACKEND_PROTOCOL", w.BackendProtocol)
	if w.BackendConnAge > 0 {
		set("WORKER_BACKEND_CONN_MAX_AGE", w.BackendConnAge.String())
	}
	unlessSet := func(name string, value int64) {
		if _, set := w.Env[name]; !set && w.EnvFiles[name] == "" && value > 0 {
			env = append(env, name+"="+strconv.FormatInt(value, 10))
		}
	}
	unlessSet("GOMAXPROCS", int64(cmp.Or(w.CPUs, cpuShare(runtime.GOMAXPROCS(0), c.Workers))))
	unlessSet("GOMEMLIMIT", c.heapTarget())
	for name, value := range w.Env {
		env = append(env, name+"="+value)
	}
	for name, file := range w.EnvFiles {
		value, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("variable %s of the workers: %w", name, err)
		}
		env = append(env, name+"="+strings.TrimRight(string(value), "\r\n"))
	}
	return env, nil
}

// cpuShare is how many of the CPUs each worker of a pool computes on, rounded up:
// together they can use all. More would only have their runtimes look for work on
// CPUs where another worker runs; two workers on two CPUs spend 8 % less for it.
func cpuShare(cpus, workers int) int { return (cpus + workers - 1) / max(1, workers) }

// heapTarget is GOMEMLIMIT of c's workers, in bytes: 90 % of their limit, so that
// the collector works harder before anybody else has to act. 0 is no limit.
func (c BulkheadConfig) heapTarget() int64 {
	return cmp.Or(c.Worker.Memory, c.Recycle.Memory) / 10 * 9
}

// hardDescriptors is RLIMIT_NOFILE of c's workers: above the limit at which they
// are recycled, so that one can still work while it waits for that.
func (c BulkheadConfig) hardDescriptors() uint64 {
	return uint64(c.Recycle.Descriptors + c.Recycle.Descriptors/4)
}

// limits are what the pool recycles by, as they are configured now.
func (b *Bulkhead) limits() pool.Limits {
	now := b.settings.Load().Recycle
	return pool.Limits{
		Memory: uint64(now.Memory), Descriptors: now.Descriptors, Requests: uint64(now.Requests), Age: now.Age,
	}
}

// observe turns what happens in a pool into log lines and metrics.
func (b *Bulkhead) observe(e pool.Event, log hclog.Logger) {
	m := b.stats.metrics
	log = log.With("slot", e.Slot)
	if e.Pid != 0 {
		log = log.With("pid", e.Pid)
	}
	if e.Evidence != "" {
		log = log.With("evidence", e.Evidence)
		e.Stacks = nil // they are in there
	}
	switch e.Kind {
	case pool.Started:
		m.startSeconds.Observe(e.Took.Seconds())
		b.noted.worker(e.Slot, "worker ready", nil)
		log.Info("worker ready", "took_ms", e.Took.Milliseconds())
	case pool.Faulted:
		m.restarts[e.Cause].Inc()
		b.restartCount.Add(1)
		b.noted.worker(e.Slot, "worker lost: "+string(e.Cause), e.Err)
		log.Error("worker lost", "cause", e.Cause, "error", e.Err, "next_start_ms", e.Wait.Milliseconds())
	case pool.Quarantine:
		b.noted.worker(e.Slot, "quarantined", e.Err)
		log.Error("slot quarantined: its workers used up the restart budget", "error", e.Err, "next_start_ms", e.Wait.Milliseconds())
	case pool.Replaced:
		m.restarts[e.Cause].Inc()
		b.restartCount.Add(1)
		if e.Err != nil {
			log = log.With("why", e.Err)
		}
		b.noted.worker(e.Slot, "worker replaced: "+string(e.Cause), e.Err)
		log.Info("worker replaced, draining", "cause", e.Cause)
	case pool.StopOverrun:
		if len(e.Stacks) > 0 {
			log = log.With("stacks", string(e.Stacks))
		}
		b.noted.worker(e.Slot, "worker did not stop in time and was killed", nil)
		log.Warn("worker did not stop in time and was killed")
	case pool.Ended:
		log.Info("worker ended", "error", e.Err)
	}
}
