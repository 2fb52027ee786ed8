package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc"
)

// generation is what a supervisor owns on disk while it runs: the lock of its
// state directory, and a private folder for the sockets of its workers. Both are
// held by descriptors, so they end with the process, however that ends.
type generation struct {
	state *os.File // locked
	dir   string   // of the sockets

	restoring sync.Mutex
	lock      *os.File // of dir; restoring guards it once workers start
}

// openGeneration takes the state directory, removes what earlier supervisors of
// it left behind, and makes a folder for this one.
//
// A lock that was handed down is the old supervisor's: both hold it until that
// one ends.
func openGeneration(stateDir, runtimeDir string, handed *os.File) (_ *generation, err error) {
	g := &generation{}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if handed != nil {
		g.state = handed
	} else if g.state, err = lockFile(filepath.Join(stateDir, "lock")); errors.Is(err, errLocked) {
		return nil, fmt.Errorf("state directory %s belongs to a supervisor that runs (pid %s); give this one another COORDINATOR_STATE_DIR",
			stateDir, readPid(filepath.Join(stateDir, "lock")))
	} else if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := writePid(g.state); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}

	// One state directory has one base, so that its leftovers can be found and
	// nobody else's are touched.
	real, err := filepath.EvalSymlinks(stateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	name := sha256.Sum256([]byte(real))
	base := filepath.Join(runtimeDir, hex.EncodeToString(name[:4]))
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	if err := private(base); err != nil {
		return nil, err
	}
	sweepGenerations(base)
	g.dir, err = os.MkdirTemp(base, "g")
	if err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	if len(g.dir) > ipc.MaxSocketDir {
		return nil, fmt.Errorf("runtime directory %s: too long for the sockets of workers, at most %d bytes fit",
			runtimeDir, ipc.MaxSocketDir-(len(g.dir)-len(runtimeDir)))
	}
	g.lock, err = lockFile(filepath.Join(g.dir, "lock"))
	return g, err
}

// restore makes the folder for sockets anew when somebody has removed it, as
// cleaners of temporary folders do. Connections that are open do not need it, but
// no worker can start without.
func (g *generation) restore() error {
	g.restoring.Lock()
	defer g.restoring.Unlock()
	if _, err := os.Lstat(g.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	for _, dir := range []string{filepath.Dir(g.dir), g.dir} {
		if err := private(dir); err != nil {
			return err
		}
	}
	lock, err := lockFile(filepath.Join(g.dir, "lock"))
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	g.lock.Close()
	g.lock = lock
	return nil
}

// reclaim undoes what a successor that failed has left: its name in the lock,
// and the folder of its sockets.
func (g *generation) reclaim() {
	_ = writePid(g.state) // it is only for people to read
	sweepGenerations(filepath.Dir(g.dir))
}

// private refuses a folder that others could put sockets into.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	if !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("runtime directory %s: must be a folder of this user with mode 0700", dir)
	}
	return nil
}

// sweepGenerations removes the folders of supervisors that are gone. One whose
// lock is held is in use.
func sweepGenerations(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, "g*"))
	for _, dir := range dirs {
		lock, err := lockFile(filepath.Join(dir, "lock"))
		if errors.Is(err, errLocked) {
			continue
		}
		killOrphans(dir)
		_ = os.RemoveAll(dir)
		if lock != nil {
			lock.Close()
		}
	}
}

func (g *generation) close() {
	if g.dir != "" {
		_ = os.RemoveAll(g.dir)
	}
	for _, f := range []*os.File{g.lock, g.state} {
		if f != nil {
			f.Close()
		}
	}
}

var errLocked = errors.New("locked by another process")

// lockFile opens a file and locks it for as long as it is open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, errLocked
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	return f, nil
}

func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPid(path string) string {
	b, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}
