package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A unixSocket removes its path when it closes, if the path is still its own:
// a supervisor that took over may have put its socket there.
type unixSocket struct {
	*net.UnixListener
	path  string
	own   fs.FileInfo
	left  atomic.Bool
	close func() error
}

// leave has Close leave the path alone: a successor listens there.
func (s *unixSocket) leave() { s.left.Store(true) }

// adoptSocket makes the path of a socket that was handed down our own.
func adoptSocket(ln *net.UnixListener) (*unixSocket, error) {
	return ownSocket(ln, ln.Addr().String())
}

// Close may be called more than once.
func (s *unixSocket) Close() error { return s.close() }

// listenSocket listens at path with that mode. A socket that nobody answers on
// is replaced.
func listenSocket(path string, mode fs.FileMode) (*unixSocket, error) {
	ln, err := bindSocket(path, mode)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		ln, err = bindSocket(path, mode)
	}
	return ln, err
}

func bindSocket(path string, mode fs.FileMode) (*unixSocket, error) {
	// On Linux the socket's mode before bind is that of the file it makes, so
	// that there is no moment at which another user could connect. Elsewhere the
	// call fails, and Chmod closes the moment that the folder leaves open.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	s, err := ownSocket(listener.(*net.UnixListener), path)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ownSocket removes path with the listener.
func ownSocket(ln *net.UnixListener, path string) (*unixSocket, error) {
	ln.SetUnlinkOnClose(false)
	s := &unixSocket{UnixListener: ln, path: path}
	s.close = sync.OnceValue(func() error {
		// Before the close: an open socket holds its inode, so that no other
		// file can have the same number yet.
		return errors.Join(s.removeOwn(), ln.Close())
	})
	var err error
	s.own, err = os.Lstat(path)
	return s, err
}

func (s *unixSocket) removeOwn() error {
	there, err := os.Lstat(s.path)
	if err != nil || s.left.Load() || !os.SameFile(there, s.own) {
		return nil // gone, or another's
	}
	return os.Remove(s.path)
}

// removeStale removes the socket at path if nobody answers on it. Anything but a
// refused connection counts as an answer: a full backlog, a lack of permission.
func removeStale(path string) error {
	found, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if found.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file that is no socket; want another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return errors.New("another supervisor answers there; want one supervisor to a socket")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(found, there) {
		return errors.New("another supervisor is starting there; want one supervisor to a socket")
	}
	return os.Remove(path)
}
