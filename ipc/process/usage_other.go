//go:build !linux

package process

import "errors"

// UsageOf is not known here.
func UsageOf(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
