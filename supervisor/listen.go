package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// frontListener is a listener and the name under which it is handed on.
type frontListener struct {
	net.Listener
	name string
}

// listen opens the front's listeners, or takes over those that were handed
// down. On an error none is left open.
func listen(addresses []string, h *Handover) (opened []frontListener, err error) {
	defer func() {
		if err != nil {
			for _, ln := range opened {
				ln.Close()
			}
		}
	}()
	for _, address := range addresses {
		lns, err := listenOn(address, h)
		if err != nil {
			return opened, err
		}
		for i, ln := range lns {
			opened = append(opened, frontListener{ln, fmt.Sprintf("%s%s %d", frontFile, address, i)})
		}
	}
	return opened, nil
}

// listenOn opens one address, which may stand for several sockets of a service
// manager.
func listenOn(address string, h *Handover) (lns []net.Listener, err error) {
	for i := 0; ; i++ {
		ln, err := h.listener(fmt.Sprintf("%s%s %d", frontFile, address, i))
		if err != nil {
			return nil, err
		}
		if ln == nil {
			break
		}
		lns = append(lns, ln)
	}
	if len(lns) > 0 {
		return lns, nil
	}
	switch {
	case address == "systemd" || strings.HasPrefix(address, "systemd:"):
		return fromSystemd(address)
	case strings.HasPrefix(address, "unix:"):
		ln, err := listenSocket(strings.TrimPrefix(address, "unix:"), 0o666)
		if err != nil {
			return nil, fmt.Errorf("COORDINATOR_LISTEN=%s: %w", address, err)
		}
		return []net.Listener{ln}, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("COORDINATOR_LISTEN=%s: %w%s", address, err, listenAdvice(err))
	}
	return []net.Listener{ln}, nil
}

// listenAdvice says what to do about an address that cannot be listened on.
func listenAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; want one that no other program has"
	case errors.Is(err, syscall.EACCES):
		return "; want a port from 1024 up"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; want an address of this machine"
	}
	return ""
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
