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
		sweep(path)
	}
	for {
		d, err := makeWorkdir()
		if !errors.Is(err, errSwept) {
			return d, err
		}
	}
}

// errSwept is a folder that another demo has removed before it was locked.
var errSwept = errors.New("demo: folder: removed")

func makeWorkdir() (*workdir, error) {
	path, err := os.MkdirTemp(workdirBase(), workdirPattern) // mode 0700
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // who else looks holds it for a moment only
	}
	d := &workdir{path: path, lock: lock}
	if err != nil {
		_ = d.close()
		return nil, fmt.Errorf("demo: folder: %w", err)
	}
	if _, err := os.Lstat(lock.Name()); err != nil {
		_ = d.close()
		return nil, errSwept
	}
	return d, nil
}

// sweep removes the folder of a demo that is gone.
func sweep(path string) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if err != nil {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > settling {
			_ = os.RemoveAll(path)
		}
		return
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.RemoveAll(path) // under its lock: see errSwept
	}
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
		if locked(path) {
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

// locked reports whether a demo holds the folder.
func locked(path string) bool {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer lock.Close()
	return unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
