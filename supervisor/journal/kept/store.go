package kept

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of what is not kept, besides those of the file system.
var (
	ErrFull = errors.New("kept: there is no room for it")
	ErrSlow = errors.New("kept: the disk does not answer")
)

const (
	nameBytes = 16
	block     = 4 << 10 // of a file system, and what an empty file counts
	// MinBytes is the least bound of a Store.
	MinBytes = 1 << 20
	// MaxBody bounds the body of a request that is kept, in bytes.
	MaxBody = 16 << 20
	maxFile = MaxBody + 1<<20 // with its head
)

// Store is a folder of kept requests. Two processes may have it open at a time,
// during an upgrade. It is safe for concurrent use. Make one with Open.
type Store struct {
	dir   string
	bound int64
	keys  atomic.Pointer[Keys]

	files atomic.Int64
	bytes atomic.Int64 // in blocks

	create  func(path string) (*os.File, error) // what tests replace
	mu      sync.Mutex
	closed  bool
	changes uint64         // of the folder by this process, that have begun
	under   int            // of them, under way
	writing sync.WaitGroup // for the goroutines of Keep
	overdue atomic.Int64   // of them, for longer than patience

	before atomic.Pointer[time.Time] // what is older is to go
	wake   chan struct{}
	drops  chan string
	ending chan struct{}
	ended  chan struct{}
}

const (
	patience = time.Second // for the disk, as the journal has
	maxDrops = 4096        // that wait for the disk
)

// Open makes dir if need be, counts what is there, and starts the goroutine that
// removes what is to go, which Close ends. bound is in bytes, at least MinBytes.
func Open(dir string, bound int64, keys *Keys) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("kept: %w", err)
	}
	s := &Store{
		dir: dir, bound: max(bound, MinBytes), create: create,
		wake: make(chan struct{}, 1), drops: make(chan string, maxDrops), ending: make(chan struct{}), ended: make(chan struct{}),
	}
	s.keys.Store(keys)
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("kept: %w", err)
	}
	go s.serve()
	return s, nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// SetKeys has other keys seal and open from now on.
func (s *Store) SetKeys(keys *Keys) { s.keys.Store(keys) }

// Stats is a snapshot.
type Stats struct{ Files, Bytes int64 }

// Stats is what the folder holds, as far as this process knows.
func (s *Store) Stats() Stats {
	return Stats{Files: max(0, s.files.Load()), Bytes: max(0, s.bytes.Load())}
}

// Keep seals r, and returns the name that Read and Drop want. With sync it is on the
// disk when Keep returns. It takes a second at most. The error is ErrFull, ErrSlow, or
// the file system's.
func (s *Store) Keep(requestID string, r *Request, sync bool) (name string, err error) {
	plain := r.marshal()
	switch {
	case len(r.Body) > MaxBody || len(plain) > maxFile-block:
		return "", ErrFull
	case s.overdue.Load() > 0: // more would only wait with it
		return "", ErrSlow
	}
	var random [nameBytes]byte
	rand.Read(random[:]) // never fails
	name = hex.EncodeToString(random[:])
	sealed, err := s.keys.Load().seal(name, requestID, plain)
	if err != nil {
		return "", err
	}
	if !s.begin() {
		return "", ErrFull
	}
	size := blocks(int64(len(sealed)))
	switch now := s.bytes.Add(size); {
	case now > s.bound:
		s.bytes.Add(-size)
		s.finish()
		s.rouse()
		return "", ErrFull
	case now > s.bound/8*7:
		s.rouse()
	}
	s.files.Add(1)
	if err := s.writeInTime(name, sealed, sync); err != nil {
		return "", err
	}
	return name, nil
}

// begin notes that something is being written, which Close waits for.
func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.writing.Add(1)
	s.changes++
	s.under++
	return true
}

func (s *Store) finish() {
	s.changed()
	s.writing.Done()
}

func (s *Store) changed() {
	s.mu.Lock()
	s.under--
	s.mu.Unlock()
}

// still is how many changes there were, and whether none is under way.
func (s *Store) still() (changes uint64, still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes, s.under == 0
}

// writeInTime waits for the disk for so long. What is written too late is removed
// again, and counts until then.
func (s *Store) writeInTime(name string, sealed []byte, sync bool) error {
	done := make(chan error)
	late := make(chan struct{})
	go func() {
		defer s.finish()
		err := s.write(name, sealed, sync)
		if err != nil {
			s.removed(int64(len(sealed)))
		}
		select {
		case done <- err:
		case <-late:
			s.overdue.Add(-1)
			if err == nil {
				_ = s.Drop(name)
			}
		}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		s.overdue.Add(1)
		close(late)
		return ErrSlow
	}
}

func (s *Store) write(name string, content []byte, sync bool) error {
	path := filepath.Join(s.dir, name)
	f, err := s.create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil && sync {
		err = syncDir(s.dir)
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir makes the names in dir survive the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read opens the request of that name and id. The error is fs.ErrNotExist when it is
// no longer there, ErrKey, ErrDamaged, or the file system's.
func (s *Store) Read(requestID, name string) (*Request, error) {
	if !isName(name) {
		return nil, ErrDamaged
	}
	path := filepath.Join(s.dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, ErrDamaged
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	plain, err := s.keys.Load().open(name, requestID, sealed)
	if err != nil {
		return nil, err
	}
	return unmarshal(plain)
}

// Drop removes the request of that name: it will not be sent again. That it is not
// there is no error.
func (s *Store) Drop(name string) error {
	if !isName(name) {
		return ErrDamaged
	}
	s.mu.Lock()
	s.changes++
	s.under++
	s.mu.Unlock()
	defer s.changed()
	path := filepath.Join(s.dir, name)
	info, err := os.Lstat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		s.removed(info.Size())
	}
	return err
}

// DropSoon is Drop for who does not wait for the disk. Where too many wait already,
// or it fails, the file stays until it is the oldest.
func (s *Store) DropSoon(name string) {
	select {
	case s.drops <- name:
	default:
	}
}

func (s *Store) removed(size int64) {
	s.files.Add(-1)
	s.bytes.Add(-blocks(size))
}

func blocks(size int64) int64 { return max(1, (size+block-1)/block) * block }

// isName reports whether name is one that Keep gives.
func isName(name string) bool {
	return len(name) == 2*nameBytes && strings.Trim(name, "0123456789abcdef") == ""
}
