package config

import (
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// bulkheadConfig works out the defaults that depend on other variables, checks
// what must hold between them, and converts.
func (s *scope) bulkheadConfig(b *bulkhead) supervisor.BulkheadConfig {
	limit := b.Limit.most
	queue := computed(s, "QUEUE", b.Queue, limit/2)
	upgrades := computed(s, "UPGRADE_LIMIT", b.UpgradeLimit, limit)
	minCalls := computed(s, "BREAKER_MIN_CALLS", b.BreakerMinCalls, min(20, b.Limit.certain()))

	c := supervisor.BulkheadConfig{
		Name:          s.bulkhead,
		Owner:         b.Owner,
		Runbook:       b.Runbook,
		Routes:        b.Routes.list,
		Worker:        s.workerConfig(b),
		Workers:       int(b.Workers),
		RestartBudget: supervisor.RestartBudget{Faults: b.RestartBudget.faults, Per: b.RestartBudget.per},
		Recycle: supervisor.RecycleLimits{
			Memory:      int64(b.MemorySoft),
			Descriptors: int(b.Descriptors),
			Requests:    int64(b.MaxRequests),
			Age:         time.Duration(b.MaxAge),
		},
		Limit:        limit,
		Adaptive:     b.Limit.adaptive(),
		Queue:        queue,
		QueueTimeout: time.Duration(b.QueueTimeout),
		UpgradeLimit: upgrades,
		MaxBody:      int64(b.MaxBody),
		Timeout:      time.Duration(b.Timeout),
		IdleTimeout:  time.Duration(b.IdleTimeout),
		MaxDuration:  time.Duration(b.MaxDuration),
		SlowLog:      time.Duration(b.SlowLog),
		Breaker: breaker.Settings{
			Window:       time.Duration(b.BreakerWindow),
			MinCalls:     minCalls,
			FailureRatio: float64(b.BreakerFailureRatio),
			SlowCall:     time.Duration(b.BreakerSlowCall),
			SlowRatio:    float64(b.BreakerSlowRatio),
			OpenFor:      time.Duration(b.BreakerOpenFor),
			Probes:       int(b.BreakerProbes),
		},
		BreakerMode:   breaker.Mode(b.BreakerMode),
		BreakerStatus: b.BreakerStatus,
		CORSOrigins:   b.CORSOrigins,
		RawPath:       b.Path == "raw",
		Fallback:      s.fallback(b),
		Journal:       journalOf(b),
		Idempotency:   idempotencyOf(b),

		BackendIdempotent: b.BackendIdem == "true",
	}
	if c.Fallback.Always {
		c.Workers = 0
	}
	s.checkBulkhead(c, b.Limit.certain())
	return c
}

// computed is the value of key: what was set, else otherwise.
func computed[T ~int](s *scope, key string, set *T, otherwise int) int {
	if set != nil {
		return int(*set)
	}
	s.derive(key, strconv.Itoa(otherwise), "")
	return otherwise
}

func (s *scope) workerConfig(b *bulkhead) supervisor.WorkerConfig {
	kind := b.Worker
	if isPath(kind) {
		kind = absolute(kind)
	}
	w := supervisor.WorkerConfig{
		Kind:            kind,
		Backend:         string(b.Backend),
		StripPrefix:     b.StripPrefix,
		PreserveHost:    b.HostHeader == "preserve",
		BackendCA:       absolute(b.BackendCA),
		BackendCert:     absolute(b.BackendCert),
		BackendKey:      absolute(b.BackendKey),
		BackendProtocol: b.BackendProtocol,
		BackendConnAge:  time.Duration(b.BackendConnAge),
		Env:             map[string]string{},
		EnvFiles:        map[string]string{},
		Memory:          int64(b.Memory),
		MemoryRequired:  b.MemoryEnforce == "required",
	}
	if b.CPUs == nil {
		s.derive("CPUS", "cores/WORKERS", "")
	} else {
		w.CPUs = int(*b.CPUs)
	}
	for _, key := range s.envKeys[s.bulkhead] {
		s.workerEnv(&w, key)
	}
	return w
}

// workerEnv adds the variable ENV_FOO or ENV_FOO_FILE to w.
func (s *scope) workerEnv(w *supervisor.WorkerConfig, key string) {
	value := s.vars.set[s.prefix+key].value
	name := strings.TrimPrefix(key, envPrefix)
	name, fromFile := strings.CutSuffix(name, fileSuffix)
	switch {
	case !isEnvName(name):
		s.fail(key, "want a name of letters, digits and _ after ENV_")
	case ownedByProtocol(name):
		s.fail(key, "%s is the worker protocol's own; want a name that does not begin with PLUGIN_, WORKER_ or COORDINATOR_", name)
	case fromFile && strings.TrimSpace(value) == "":
	case fromFile:
		value = strings.TrimSpace(value)
		w.EnvFiles[name] = absolute(value)
		s.checkReadable(key, value)
		if s.isSet(envPrefix + name) {
			s.fail(key, "%s is set too; want one of the two", s.prefix+envPrefix+name)
		}
	default:
		w.Env[name] = value
	}
}

func ownedByProtocol(name string) bool {
	for _, prefix := range []string{"PLUGIN_", "WORKER_", "COORDINATOR_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// isPath tells a worker binary's path from a built-in kind.
func isPath(worker string) bool { return strings.Contains(worker, "/") }
