package supervisor

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

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
			ln, err := listenUnix(strings.TrimPrefix(address, "unix:"), 0o666)
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

// listenUnix takes the path over from a process that is gone, never from one
// that answers.
func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("another process answers on the socket %s", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(path)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// certificate serves a key pair and reads it again when its files change.
type certificate struct {
	certFile, keyFile string
	warn              func(error)

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time // of the files that pair is from
	looked  time.Time
}

// lookEvery is how often a handshake looks at the files.
const lookEvery = time.Second

func newCertificate(certFile, keyFile string, warn func(error)) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, warn: warn}
	return c, c.load(time.Now())
}

func (c *certificate) load(now time.Time) error {
	changed := latest(c.certFile, c.keyFile)
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	c.looked = now
	if err != nil {
		return fmt.Errorf("COORDINATOR_TLS_CERT=%s, COORDINATOR_TLS_KEY=%s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.changed = &pair, changed
	return nil
}

// get implements tls.Config.GetCertificate. A pair that cannot be read, as in
// the middle of its replacement, leaves the old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > lookEvery {
		c.looked = now
		if latest(c.certFile, c.keyFile).After(c.changed) {
			if err := c.load(now); err != nil {
				c.warn(err)
			}
		}
	}
	return c.pair, nil
}

func latest(files ...string) time.Time {
	var t time.Time
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t
}
