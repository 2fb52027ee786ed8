package supervisor

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen opens the front's listeners. On an error none is left open.
func listen(addresses []string) (_ []net.Listener, err error) {
	var lns []net.Listener
	defer func() {
		if err != nil {
			closeAll(lns)
		}
	}()
	for _, address := range addresses {
		switch {
		case address == "systemd" || strings.HasPrefix(address, "systemd:"):
			handed, err := fromSystemd(address)
			if err != nil {
				return lns, err
			}
			lns = append(lns, handed...)
		case strings.HasPrefix(address, "unix:"):
			ln, err := listenSocket(strings.TrimPrefix(address, "unix:"), 0o666)
			if err != nil {
				return lns, fmt.Errorf("COORDINATOR_LISTEN=%s: %w", address, err)
			}
			lns = append(lns, ln)
		default:
			ln, err := net.Listen("tcp", address)
			if err != nil {
				return lns, fmt.Errorf("COORDINATOR_LISTEN=%s: %w; is the address another program's?", address, err)
			}
			lns = append(lns, ln)
		}
	}
	return lns, nil
}

func closeAll(lns []net.Listener) {
	for _, ln := range lns {
		ln.Close()
	}
}

// fromSystemd takes the sockets that a service manager opened: all of them, or
// those of the name behind "systemd:".
func fromSystemd(address string) ([]net.Listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("COORDINATOR_LISTEN=%s: %w", address, err)
	}
	_, want, one := strings.Cut(address, ":")
	var lns []net.Listener
	for name, list := range named {
		if !one || name == want {
			lns = append(lns, list...)
		} else {
			closeAll(list)
		}
	}
	if len(lns) == 0 {
		return nil, fmt.Errorf("COORDINATOR_LISTEN=%s: no such socket was handed down (LISTEN_FDNAMES=%s)", address, os.Getenv("LISTEN_FDNAMES"))
	}
	return lns, nil
}
