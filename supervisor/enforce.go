package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/cgroup"
)

// Enforcement is who holds workers to their hard limit of memory.
type Enforcement string

const (
	EnforcedByCgroup2 Enforcement = Enforcement(cgroup.Version2)
	EnforcedByCgroup1 Enforcement = Enforcement(cgroup.Version1)
	EnforcedByWatch   Enforcement = "watch" // the supervisor looks every 250 ms
	NotEnforced       Enforcement = "none"  // this system does not even tell how much a process has
)

// A SettingError is a setting that this machine cannot follow.
type SettingError struct {
	Variable string
	Err      error
}

func (e *SettingError) Error() string { return e.Variable + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// FindEnforcement is what a supervisor would hold its workers by if it were
// started as this process is, and why not by the kernel. It changes nothing.
func FindEnforcement() (by Enforcement, why error) {
	tree, err := cgroup.Find(groupPrefix)
	if err != nil {
		return withoutCgroup(), err
	}
	return Enforcement(tree.Kind()), nil
}

func withoutCgroup() Enforcement {
	if _, err := process.UsageOf(os.Getpid()); err != nil {
		return NotEnforced
	}
	return EnforcedByWatch
}

// groupPrefix begins the name of every control group of ours. That of the state
// directory follows: its lock says which supervisor is dead.
const groupPrefix = "coordinator"

// memory is how a supervisor holds its workers to their limits of memory. The
// zero memory has not looked yet: nobody had one.
type memory struct {
	by   Enforcement
	tree *cgroup.Tree // nil: not by the kernel
	why  error        // why not
}

// limitMemory looks, at the first configuration that has a hard limit, how it can
// be enforced. Later is too late for version 2: once there are workers, they are
// in the supervisor's group.
func (s *Supervisor) limitMemory(bulkheads []BulkheadConfig) error {
	first := ""
	for _, b := range bulkheads {
		if b.Worker.Memory > 0 && b.Worker.MemoryRequired && first == "" {
			first = b.Name
		}
		if b.Worker.Memory > 0 && s.memory.Load() == nil {
			s.memory.Store(s.enforce())
		}
	}
	if m := s.memory.Load(); first != "" && m.tree == nil {
		return &SettingError{
			Variable: "BULKHEAD_" + strings.ToUpper(strings.ReplaceAll(first, "-", "_")) + "_MEMORY_ENFORCE",
			Err:      fmt.Errorf("required, and no control group can be used: %w", m.why),
		}
	}
	return nil
}

func (s *Supervisor) enforce() *memory {
	own := filepath.Base(s.generation.dir)
	tree, err := cgroup.Find(groupPrefix + "-" + filepath.Base(filepath.Dir(s.generation.dir)))
	if err == nil {
		// Of a supervisor that handed over, workers may still be draining.
		err = tree.Take(own, s.options.Handover != nil)
	}
	if err != nil {
		m := &memory{by: withoutCgroup(), why: err}
		s.log.Warn("memory limits are not enforced by the kernel", "enforcement", m.by, "error", err)
		return m
	}
	s.log.Info("memory limits are enforced by the kernel", "enforcement", tree.Kind(), "group", tree.Dir())
	return &memory{by: Enforcement(tree.Kind()), tree: tree}
}

// releaseMemory gives the supervisor's group back. One that was handed over in
// either direction is another supervisor's too, whose workers would lose their
// limits.
func (s *Supervisor) releaseMemory() {
	m := s.memory.Load()
	if m == nil || m.tree == nil || s.handed.Load() || s.options.Handover != nil {
		return
	}
	if err := m.tree.Release(); err != nil {
		s.log.Warn("control group not given back", "group", m.tree.Dir(), "error", err)
	}
}

// confine adds to spec what holds the worker to its hard limit. When the kernel
// does not take it, the supervisor watches, or, if it must not, nothing starts.
func (s *Supervisor) confine(spec *ipc.Spec, c BulkheadConfig) error {
	limit := uint64(c.Worker.Memory)
	if limit == 0 {
		return nil
	}
	m := s.memory.Load()
	if m.tree == nil {
		spec.Memory = limit
		return nil
	}
	group, err := m.tree.New(limit)
	switch {
	case err == nil:
		spec.Group = group
	case c.Worker.MemoryRequired:
		return fmt.Errorf("control group of the worker: %w", err)
	default:
		s.log.Warn("no control group for a worker: its memory is watched", "bulkhead", c.Name, "error", err)
		spec.Memory = limit
	}
	return nil
}

// enforcement is that of a bulkhead; empty where it has no hard limit.
func (s *Supervisor) enforcement(c BulkheadConfig) Enforcement {
	m := s.memory.Load()
	if c.Worker.Memory == 0 || m == nil {
		return ""
	}
	return m.by
}
