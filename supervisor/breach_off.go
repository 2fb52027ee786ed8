//go:build !breached

package supervisor

// breach tears down walls between bulkheads, in a build that is meant to fail
// its drills. This one is meant to pass them.
func breach([]*Bulkhead) {}
