//go:build !linux

package process

import "errors"

// LimitDescriptors is not possible here: no process sets the limits of another.
func (p *Process) LimitDescriptors(uint64) error { return errors.ErrUnsupported }

// DescriptorsOf is not known here.
func DescriptorsOf(int) (int, error) { return 0, errors.ErrUnsupported }
