//go:build unix && !linux

package demo

import "net"

// reserve picks a port that is free now. Nothing keeps it while a service is down;
// the service retries for some seconds when it wants it back.
func reserve() (addr string, release func(), err error) {
	ln, err := net.Listen("tcp", freePort)
	if err != nil {
		return "", nil, err
	}
	defer ln.Close()
	return ln.Addr().String(), func() {}, nil
}
