package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A workdir is the private folder of one demo: configuration, log and sockets. Its
// lock lasts as long as the demo, however that ends, so that what a killed demo
// left behind can be told from one that runs.
type workdir struct {
	path string
	lock *os.File
}

const (
	workdirPattern = "coordinator-demo-*"
	lockName       = "lock"
	// settling is how long a folder may be without its lock: one being made.
	settling = time.Minute
	// maxWorkdirBase keeps the sockets of workers, 21 bytes below, within what a
	// coordinator takes for them.
	maxWorkdirBase = 56 - 21 - len("/coordinator-demo-4294967295")
)

// workdirBase is the temporary directory, or /tmp where its path is too long for
// sockets below it.
func workdirBase() string {
	if base := os.TempDir(); len(base) <= maxWorkdirBase {
		return base
	}
	return "/tmp"
}

// openWorkdir removes the folders of killed demos and makes one.
func openWorkdir() (*workdir, error) {
	for _, path := range ownWorkdirs() {
		if locked, old := lockState(path); !locked && old {
			_ = os.RemoveAll(path)
		}
	}
	path, err := os.MkdirTemp(workdirBase(), workdirPattern) // mode 0700
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // who else looks holds it for a moment only
	}
	if err != nil {
		_ = os.RemoveAll(path)
		return nil, fmt.Errorf("demo: folder: %w", err)
	}
	return &workdir{path: path, lock: lock}, nil
}

func (d *workdir) file(name string) string { return filepath.Join(d.path, name) }

// close removes the folder.
func (d *workdir) close() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

// Running lists the folders of this user's demos that run.
func Running() []string {
	var running []string
	for _, path := range ownWorkdirs() {
		if locked, _ := lockState(path); locked {
			running = append(running, path)
		}
	}
	return running
}

// ownWorkdirs lists what may be this user's: anyone can put a folder of that name
// into a shared temporary directory.
func ownWorkdirs() []string {
	var own []string
	found, _ := filepath.Glob(filepath.Join(workdirBase(), workdirPattern)) // the pattern is good
	for _, path := range found {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid() {
			own = append(own, path)
		}
	}
	return own
}

// lockState reports whether a demo holds the folder, and whether it is beyond the
// moment between its making and its lock.
func lockState(path string) (locked, old bool) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if err != nil {
		info, err := os.Lstat(path)
		return false, err == nil && time.Since(info.ModTime()) > settling
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return true, true
	}
	// Not held: by a killed demo, or for a moment by one that is being made.
	info, err := f.Stat()
	return false, err == nil && time.Since(info.ModTime()) > time.Second
}
