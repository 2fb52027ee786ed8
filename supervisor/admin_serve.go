package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"commerce.example/coordinator/supervisor/console"
)

// adminListeners are the admin API's: the unix socket for the CLI and, when
// configured, TCP.
type adminListeners struct {
	api       *Admin
	listeners map[string]net.Listener // by the name under which they are handed on
	log       func(error)

	ctx     context.Context
	cancel  context.CancelFunc
	serving sync.WaitGroup
}

func (s *Supervisor) openAdmin(c *Config, h *Handover) (*adminListeners, error) {
	a := &adminListeners{
		api: &Admin{
			Operator: s, Alive: s.Alive, Token: c.AdminToken, Listen: c.AdminListen,
			// Exemplars are shown in OpenMetrics alone, which Prometheus asks for.
			Metrics: promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second, EnableOpenMetrics: true}),
		},
		listeners: make(map[string]net.Listener),
		log:       func(err error) { s.log.Error("admin listener", "error", err) },
	}
	a.api.Feed = console.NewFeed(s.reading)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	err := a.open(socketFile, h, func() (net.Listener, error) { return ListenAdminSocket(c.AdminSocket) })
	if err == nil && c.AdminListen != "" {
		err = a.open(adminFile, h, func() (net.Listener, error) { return listenAdminTCP(c.AdminListen) })
	}
	if err != nil {
		a.closeUnserved()
		return nil, err
	}
	return a, nil
}

func listenAdminTCP(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("COORDINATOR_ADMIN_LISTEN=%s: %w%s", address, err, listenAdvice(err))
	}
	return ln, nil
}

// open takes a listener that was handed down, or makes it.
func (a *adminListeners) open(name string, h *Handover, make func() (net.Listener, error)) error {
	ln, err := h.listener(name)
	if err == nil && ln == nil {
		ln, err = make()
	}
	if err == nil {
		a.listeners[name] = ln
	}
	return err
}

func (a *adminListeners) serve() {
	a.serving.Go(func() { a.api.Feed.Run(a.ctx) })
	for name, ln := range a.listeners {
		h := a.api.OverTCP()
		if name == socketFile {
			h = a.api.OverSocket()
		}
		a.serving.Go(func() {
			if err := ServeAdmin(a.ctx, ln, h); err != nil {
				a.log(err)
			}
		})
	}
}

// console is the ConsoleURL.
func (a *adminListeners) console() string {
	ln := a.listeners[adminFile]
	if ln == nil {
		return ""
	}
	return ConsoleURL(ln.Addr().String())
}

// ConsoleURL is where a browser on this machine finds the console of a supervisor
// that listens on address, host:port; "" for what is none.
func ConsoleURL(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() { // the loopback address too
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + console.Path
}

// close may be called more than once.
func (a *adminListeners) close() {
	a.cancel()
	a.serving.Wait()
}

func (a *adminListeners) closeUnserved() {
	for _, ln := range a.listeners {
		ln.Close()
	}
}

// Alive is nil while the watch ticks, on which every deadline hangs: for /healthz
// and a service manager's watchdog. It takes a tick, and ctx bounds it.
func (s *Supervisor) Alive(ctx context.Context) error {
	last := s.ticked.Load()
	for last == s.ticked.Load() && *s.state.Load() != stateStarting {
		if !sleep(ctx, watchEvery) {
			return errors.New("its watch stands still")
		}
	}
	return nil
}
