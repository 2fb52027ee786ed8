package supervisor

import (
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

func (s *Supervisor) listen(c *Config, from *Handover) error {
	lns, err := listen(c.Listen, from)
	if err != nil {
		return err
	}
	s.limits.by = make(map[netip.Addr]int64)
	s.limits.trusted = &s.front.trusted
	refused := s.front.stats.metrics.refused[reasonIndex[ReasonTooManyConnections]]
	s.limits.refused, s.limits.spare.short = refused.Inc, s.sayShort
	s.guards = guards{
		stats: s.front.stats, ids: s.front.ids, access: &s.access, log: s.log, stopping: &s.front.stopping, headerTimeout: c.HeaderTimeout,
	}
	for _, ln := range lns {
		s.listeners = append(s.listeners, &limitedListener{frontListener: ln, limits: &s.limits, tls: c.TLSCert != ""})
	}
	s.server, err = s.newServer(c)
	if err != nil {
		s.closeListeners()
	}
	return err
}

func (s *Supervisor) closeListeners() {
	for _, ln := range s.listeners {
		ln.Close()
	}
}

// newServer is the front's HTTP server: HTTP/1.1, and HTTP/2 over TLS and with
// prior knowledge.
func (s *Supervisor) newServer(c *Config) (*http.Server, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:                      &s.front,
		Protocols:                    protocols,
		ReadHeaderTimeout:            c.HeaderTimeout,
		IdleTimeout:                  c.KeepAliveTimeout,
		MaxHeaderBytes:               c.Head.serverBytes(),
		DisableGeneralOptionsHandler: true, // OPTIONS * is routed like all else
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: c.MaxStreams,
			// As large as the first window of the protocol at least: what a client sends
			// before it has read these settings is no error of its (RFC 9113 section
			// 6.9.3), but net/http takes it for one.
			MaxReceiveBufferPerStream: 64 << 10,
			// All streams' windows together stay under it, or an upload that one
			// bulkhead does not read would stall the others.
			MaxReceiveBufferPerConnection: 8 << 20,
		},
		ErrorLog:  log.New(serverErrors{s.log}, "", 0),
		ConnState: s.connState,
	}
	if c.TLSCert == "" {
		return srv, nil
	}
	cert, err := newCertificate(c.TLSCert, c.TLSKey, func(err error) { s.log.Error("certificate not replaced", "error", err) })
	if err != nil {
		return nil, err
	}
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
	return srv, nil
}

// serve serves all listeners, and returns where the first failure arrives.
func (s *Supervisor) serve() <-chan error {
	var g errgroup.Group
	guarded := make([]net.Listener, len(s.listeners)) // all before one is served: net/http changes its TLSConfig
	for i, ln := range s.listeners {
		if ln.tls {
			guarded[i] = newSecuredListener(ln, &s.guards, s.server.TLSConfig, &s.conns)
		} else {
			guarded[i] = &guardedListener{ln, &s.guards}
		}
	}
	for _, ln := range guarded {
		g.Go(func() error {
			err := s.server.Serve(ln)
			if secured, ok := ln.(*securedListener); ok {
				secured.wait()
			}
			if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		})
	}
	failed := make(chan error, 1)
	go func() {
		if err := g.Wait(); err != nil {
			failed <- err
		}
	}()
	return failed
}

// connState counts the connections that a drain waits for. Those with TLS are
// counted since their handshake began.
func (s *Supervisor) connState(nc net.Conn, state http.ConnState) {
	if g, ok := nc.(interface{ changed(http.ConnState) }); ok {
		g.changed(state)
	}
	switch state {
	case http.StateNew:
		if _, plain := nc.(*guardedConn); plain {
			s.conns.Add(1)
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

// serverErrors logs what net/http says. Most of it is about a connection, and any
// client can cause it.
type serverErrors struct{ log hclog.Logger }

func (e serverErrors) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	switch {
	case strings.Contains(line, "panic serving"):
		e.log.Error("front", "error", line)
	case strings.Contains(line, "Accept error"): // net/http backs off, up to 1 s
		e.log.Warn("front", "error", line)
	default:
		e.log.Debug("front", "error", line)
	}
	return len(p), nil
}
