package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminListeners are the admin API's: the unix socket for the CLI and, when
// configured, TCP.
type adminListeners struct {
	cancel  context.CancelFunc
	serving sync.WaitGroup
	log     func(error)
}

// serveAdmin serves before any bulkhead starts, so that a start that hangs can
// be looked at.
func (s *Supervisor) serveAdmin(c *Config) (*adminListeners, error) {
	api := &Admin{
		Operator: s, Alive: s.alive, Token: c.AdminToken, Listen: c.AdminListen,
		Metrics: promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second}),
	}
	socket, err := ListenAdminSocket(c.AdminSocket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &adminListeners{cancel: cancel, log: func(err error) { s.log.Error("admin listener", "error", err) }}
	if c.AdminListen != "" {
		tcp, err := net.Listen("tcp", c.AdminListen)
		if err != nil {
			cancel()
			return nil, errors.Join(fmt.Errorf("COORDINATOR_ADMIN_LISTEN=%s: %w", c.AdminListen, err), socket.Close())
		}
		a.serve(ctx, tcp, api.OverTCP())
	}
	a.serve(ctx, socket, api.OverSocket())
	return a, nil
}

func (a *adminListeners) serve(ctx context.Context, ln net.Listener, h http.Handler) {
	a.serving.Go(func() {
		if err := ServeAdmin(ctx, ln, h); err != nil {
			a.log(err)
		}
	})
}

func (a *adminListeners) close() {
	a.cancel()
	a.serving.Wait()
}

// alive answers for /healthz: the watch, on which every deadline hangs, ticks.
func (s *Supervisor) alive(ctx context.Context) error {
	last := s.ticked.Load()
	for last == s.ticked.Load() && *s.state.Load() != stateStarting {
		if !sleep(ctx, watchEvery) {
			return errors.New("its watch stands still")
		}
	}
	return nil
}
