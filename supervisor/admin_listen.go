package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of an admin listener. A change moves the two on the connection itself
// out of its way.
const (
	adminRead  = 10 * time.Second // of a request, its body included
	adminWrite = 30 * time.Second // of an answer
	adminIdle  = time.Minute
	adminClose = 5 * time.Second // for requests in flight to end, once changes were told to
	adminConns = 256
)

// ServeAdmin serves h on ln until ctx is done, which ends the context of every
// request too, so that changes are given up and reported. It then waits 5 s for
// the requests in flight and closes what is left. It always closes ln. The error
// is that of the listener, or says that a request did not end in time.
func ServeAdmin(ctx context.Context, ln net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: adminRead,
		ReadTimeout:       adminRead,
		WriteTimeout:      adminWrite,
		IdleTimeout:       adminIdle,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(ln, adminConns)) }()
	select {
	case err := <-failed:
		server.Close()
		return fmt.Errorf("admin API: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminClose)
	defer cancel()
	err := server.Shutdown(last)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("admin API: closing: %w", err)
	}
	return nil
}

// ListenAdminSocket listens at path, which only this user can open. The folder
// is made if there is none, and must be one in which nobody else can put another
// socket in this one's place. A socket that nobody answers on is replaced. Close
// the listener to remove the socket.
func ListenAdminSocket(path string) (net.Listener, error) {
	if len(path) > maxAdminPath {
		return nil, fmt.Errorf("admin socket %s: a path of %d bytes; want at most %d", path, len(path), maxAdminPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := checkAdminDir(dir); err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	ln, err := listenSocket(path, 0o600)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	return ln, nil
}

// maxAdminPath keeps the path inside sun_path of all systems, as everywhere.
const maxAdminPath = 100

// checkAdminDir refuses a folder in which others could replace what we put there.
func checkAdminDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil // a system without owners
	}
	if owner := int(sys.Uid); owner != 0 && owner != os.Geteuid() {
		return fmt.Errorf("the folder belongs to user %d; want one that belongs to this user", owner)
	}
	if shared := info.Mode().Perm()&0o022 != 0; shared && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("others can write to the folder (mode %#o); want 0700", info.Mode().Perm())
	}
	return nil
}
