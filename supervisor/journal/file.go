package journal

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// file is what a segment is written to: the operating system's edge, where tests
// put a disk that is slow, full or broken.
type file interface {
	Write(p []byte) (int, error)
	Sync() error // data, and what is needed to find it
	Close() error
}

// A disk is how files are made; the field of a Journal that tests replace.
type disk struct {
	create  func(path string) (file, error)
	syncDir func(dir string) error
	remove  func(path string) error
}

var realDisk = disk{create: createLocked, syncDir: syncDir, remove: os.Remove}

type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return syncData(f.File) }

// createLocked makes a file that did not exist, and holds its lock while it is
// open. A reader that tries the lock at this moment has it for some µs.
func createLocked(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return diskFile{f}, nil
		}
		if err != syscall.EWOULDBLOCK || time.Now().After(deadline) {
			f.Close()
			_ = os.Remove(path)
			return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
		}
	}
}

// syncDir makes the names in dir survive the machine.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
