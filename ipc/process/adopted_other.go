//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
)

// ReapAdopted works on Linux only, where a process can be a subreaper or the
// first of its namespace. Elsewhere it returns errors.ErrUnsupported.
func ReapAdopted(context.Context) error {
	return fmt.Errorf("process: reap adopted children: %w", errors.ErrUnsupported)
}
