package supervisor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// silentFor is how long a connection without a request stays open in a drain.
const silentFor = 5 * time.Second

// stop drains, in the reverse order of the start, each step with a deadline.
func (s *Supervisor) stop(hard context.Context) {
	defer s.drill.bar("the supervisor stops")()
	s.setState(stateDraining) // whatever is under way: nobody is to send more
	s.operate.Lock()
	defer s.operate.Unlock()
	config := s.config.Load()
	handed := s.handed.Load()
	if s.options.Stopping != nil && !handed {
		s.options.Stopping()
	}
	s.log.Info("draining", "delay", config.DrainDelay.String(), "timeout", config.DrainTimeout.String())
	if !handed {
		sleep(hard, config.DrainDelay)
	}

	drain, cancel := context.WithTimeout(hard, cmp.Or(config.DrainTimeout, time.Millisecond))
	defer cancel()
	s.front.stopping.Store(true)
	for _, ln := range s.listeners {
		if handed {
			ln.Close() // the successor accepts what has come
		} else {
			ln.shutGracefully()
		}
	}
	s.awaitConns(drain)
	if err := s.server.Shutdown(drain); err != nil {
		s.log.Warn("drain overran: requests in flight are cut", "timeout", config.DrainTimeout.String())
		for _, b := range slices.Concat(s.bulkheads(), s.removed.all()) {
			b.watch.cancelAll(exchange.Deadline)
		}
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = s.server.Shutdown(last) // so that they can be told
		cancel()
		s.server.Close()
	}
	var pools sync.WaitGroup
	for _, b := range s.bulkheads() {
		pools.Go(func() { _ = b.pool.Load().Stop(drain) })
	}
	pools.Wait()
	s.retiring.Wait()
	s.awaitHijacked()
	for _, b := range s.bulkheads() {
		b.logFailures(s.log, time.Now(), 0)
	}
	s.log.Info("stopped")
}

// awaitConns gives each connection the time to have its next answer say that it
// ends: a client that is not told sends its next request into a closing one.
func (s *Supervisor) awaitConns(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, silentFor)
	defer cancel()
	for s.conns.Load() > 0 && sleep(ctx, 10*time.Millisecond) {
	}
}

// awaitHijacked gives the upgraded calls, whose workers have ended, the time to wait
// for their clients and to be recorded.
func (s *Supervisor) awaitHijacked() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*lingerFor)
	defer cancel()
	for s.hijacked.Load() > 0 && sleep(ctx, time.Millisecond) {
	}
}

// sleep reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
