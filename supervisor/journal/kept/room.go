package kept

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Forget has everything removed, in a while, that was kept before then.
func (s *Store) Forget(before time.Time) {
	s.before.Store(&before)
	s.rouse()
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close ends the goroutine, once what is to be dropped is. What is kept stays. The
// error is context.Cause(ctx), when the disk takes longer.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.ending)
	}
	s.mu.Unlock()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sweepPause keeps a full folder from being listed over and over.
const sweepPause = 250 * time.Millisecond

func (s *Store) serve() {
	defer close(s.ended)
	pause := time.NewTimer(0)
	defer pause.Stop()
	wake := s.wake
	for {
		select {
		case name := <-s.drops:
			_ = s.Drop(name) // it stays, sealed, until it is the oldest
		case <-wake:
			_ = s.sweep() // what cannot be listed cannot be removed; Keep says when it is full
			wake = nil
			pause.Reset(sweepPause)
		case <-pause.C:
			wake = s.wake
		case <-s.ending:
			s.writing.Wait()
			s.dropRest()
			return
		}
	}
}

func (s *Store) dropRest() {
	for {
		select {
		case name := <-s.drops:
			_ = s.Drop(name)
		default:
			return
		}
	}
}

// sweep removes what is to be forgotten and, near the bound, the oldest. Where
// nothing else changed meanwhile it corrects the figures by what is really there.
func (s *Store) sweep() error {
	changes, still := s.still()
	files, bytes := s.files.Load(), s.bytes.Load()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var all []fs.FileInfo
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !isName(e.Name()) || !info.Mode().IsRegular() {
			continue // removed meanwhile, or not ours
		}
		all = append(all, info)
		total += blocks(info.Size())
	}
	if again, after := s.still(); still && after && again == changes {
		s.files.Add(int64(len(all)) - files)
		s.bytes.Add(total - bytes)
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	before := s.before.Load()
	crowded := total > s.bound/8*7
	for _, info := range all {
		old := before != nil && info.ModTime().Before(*before)
		if !old && !(crowded && total > s.bound/4*3) {
			break
		}
		if err := os.Remove(filepath.Join(s.dir, info.Name())); err == nil {
			s.removed(info.Size())
			total -= blocks(info.Size())
		}
	}
	return nil
}
