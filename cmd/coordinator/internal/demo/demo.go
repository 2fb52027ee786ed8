// Package demo has the services that the coordinator is shown, drilled and measured
// against: the legacy ones, orders, catalog and payments; a vendor that could take
// the place of orders; and the order history page, which shows either. Each speaks
// real HTTP with realistic data and latency, runs as a process of its own, and fails
// on command in the ways that services do.
//
// # Two listeners
//
// A service has the address that clients see and a control address, so that it can
// be told to recover while the first is down or hung: POST /fault, GET /fault,
// GET /stats and, for payments, GET /ledger.
//
// # Faults
//
// See Mode. A switch holds for every request that has not been answered yet: what
// already waits hangs with the rest, and what hangs is answered when the service
// recovers. A request whose client has left is forgotten, unless it changes
// something: a payment that a hung service has read is made when it recovers,
// whoever still waits for it. That is what makes an outcome unknown.
//
// # Processes
//
// Start runs Child in a process of its own, by executing a binary with the
// arguments Subcommand and kind. The child dies with its parent: it reads a
// lifeline, its standard input, until the end, and on Linux the kernel kills it
// as well, which works on a stopped process too.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Kind is which service.
type Kind string

const (
	Orders   Kind = "orders"   // order history: GET /api/v2/orders/
	Catalog  Kind = "catalog"  // products: GET /api/catalog/, cacheable
	Payments Kind = "payments" // POST /api/payments/, with a ledger of what was done

	OrdersVendor Kind = "orders-vendor" // the same orders in another shape: GET /v3/purchases
	Page         Kind = "page"          // the order history page: GET /order-history/
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Orders, Catalog, Payments, OrdersVendor, Page} }

// Options are the settings of a service. The zero value is a service that behaves.
type Options struct {
	// Listen is the address that clients see, host:port. Empty is a free loopback
	// port.
	Listen string
	// Control is the control address: host:port, or unix:PATH. Empty is a free
	// loopback port.
	Control string
	// Seed is of everything random: latencies, and which requests a fault takes.
	// The data is the same for every seed.
	Seed uint64
	// Latency is the median time to answer: 0 is 15 ms for orders, 5 ms for
	// catalog, 25 ms for payments, 10 ms for the vendor and 1 ms for the page;
	// negative is none.
	Latency time.Duration
	// Spread is the sigma of the log-normal latency; 0 is 0.4, of which one answer
	// in a hundred takes 2.5 times the median. Negative is none.
	Spread float64
}

// Addresses are where a service listens.
type Addresses struct {
	Listen  string `json:"listen"`  // host:port
	Control string `json:"control"` // host:port, or unix:PATH
}

const (
	readHeaderTimeout = 10 * time.Second
	keepAlive         = 120 * time.Second // as the coordinator's front
	stopTimeout       = 2 * time.Second
)

// Serve runs one service in this process until ctx ends, then gives requests in
// flight 2 s. It calls ready, if not nil, once both addresses accept connections.
// It returns nil when ctx ended it.
func Serve(ctx context.Context, kind Kind, o Options, ready func(Addresses)) error {
	svc, median, err := newService(kind)
	if err != nil {
		return err
	}
	front, err := openGate(ctx, cmp.Or(o.Listen, freePort))
	if err != nil {
		return err
	}
	defer front.Close()
	control, err := listenControl(ctx, o.Control)
	if err != nil {
		return err
	}
	defer control.Close()

	s := newSite(svc, front, latencyOf(o, median), o.Seed)
	defer s.faults.stop()
	public := newServer(s)
	public.ConnState = front.track
	admin := newServer(s.control())

	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return serveUntilShut(public, front) })
	running.Go(func() error { return serveUntilShut(admin, control) })
	running.Go(func() error {
		<-ctx.Done()
		s.faults.stop() // lets hung requests go
		shut(public)
		shut(admin)
		return nil
	})
	if ready != nil {
		ready(Addresses{Listen: front.Addr().String(), Control: controlName(control)})
	}
	return running.Wait()
}

// newService makes a service of that kind, and its usual latency.
func newService(kind Kind) (service, time.Duration, error) {
	switch kind {
	case Orders:
		return newOrders(), 15 * time.Millisecond, nil
	case Catalog:
		return newCatalog(), 5 * time.Millisecond, nil
	case Payments:
		return newPayments(), 25 * time.Millisecond, nil
	case OrdersVendor:
		return newPurchases(), 10 * time.Millisecond, nil
	case Page:
		return historyPage{}, time.Millisecond, nil
	}
	return nil, 0, fmt.Errorf("demo: no service %q; there are %v", kind, Kinds())
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       keepAlive,
		ErrorLog:          log.New(os.Stderr, "demo: ", 0),
	}
}

func serveUntilShut(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shut ends s; what is still in flight after the grace is cut off.
func shut(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		s.Close()
	}
}

const (
	unixPrefix = "unix:"
	freePort   = "127.0.0.1:0"
)

func listenControl(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		// A killed predecessor leaves its socket behind.
		if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
			os.Remove(path)
		}
		return lc.Listen(ctx, "unix", path)
	}
	return lc.Listen(ctx, "tcp", cmp.Or(addr, freePort))
}

func controlName(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return unixPrefix + l.Addr().String()
	}
	return l.Addr().String()
}
