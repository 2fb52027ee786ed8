//go:build !unix

package backend

import "net"

// lookout cannot look here, so every connection is used once.
type lookout struct{}

func newLookout(net.Conn) *lookout { return &lookout{} }

func (*lookout) readable() bool { return true }
