package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A segment is one file, as a reader finds it.
type segment struct {
	name string
	seq  uint64
	size int64
	last time.Time // when it was written to last, as the file system says
	live bool      // its writer holds the lock
	head *mark     // nil: damaged, or not written yet
	run  string    // of the head, or of the first entry when that is damaged
	// counts is how many bytes count: what is beyond stands in the next one too.
	counts int64
	// missing is how many bytes have been cut off, as the next one says.
	missing int64
}

// segmentTime is how a segment's name says when it was begun.
const segmentTime = "20060102T150405.000Z"

// segmentName is a name that sorts by seq, then by time.
func segmentName(seq uint64, now time.Time) string {
	return fmt.Sprintf("journal-%08d-%s.jsonl", seq, now.UTC().Format(segmentTime))
}

// seqOf reads the number in a segment's name.
func seqOf(name string) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, "journal-")
	if !ok || !strings.HasSuffix(rest, ".jsonl") {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// begun is when the segment was begun, as its name says.
func (s *segment) begun() (time.Time, error) {
	_, begun, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s.name, "journal-"), ".jsonl"), "-")
	return time.Parse(segmentTime, begun)
}

// names lists the segments in dir, with their sizes, oldest first.
func names(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []*segment
	for _, e := range entries {
		seq, ok := seqOf(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed
		} else if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			found = append(found, &segment{name: e.Name(), seq: seq, size: info.Size(), counts: info.Size(), last: info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), strings.Compare(a.name, b.name))
	})
	return found, nil
}

// list is names with heads and locks. A writer that goes over to its next segment
// meanwhile would look dead for a moment, so the folder must be the same after
// the locks were tried; in a busy one the third answer has to do.
func list(dir string) ([]*segment, error) {
	var segments []*segment
	for range 3 {
		var err error
		if segments, err = names(dir); err != nil {
			return nil, err
		}
		for _, s := range segments {
			if s.live, err = locked(filepath.Join(dir, s.name)); err != nil {
				return nil, err
			}
		}
		again, err := names(dir)
		if err != nil {
			return nil, err
		}
		if slices.EqualFunc(segments, again, func(a, b *segment) bool { return a.name == b.name }) {
			break
		}
	}
	byName := make(map[string]*segment, len(segments))
	for _, s := range segments {
		byName[s.name] = s
		if err := s.readHead(dir); err != nil {
			return nil, err
		}
	}
	for _, s := range segments {
		if s.head == nil || s.head.After == nil {
			continue
		}
		if before := byName[s.head.After.Segment]; before != nil {
			before.counts = min(before.size, s.head.After.Bytes)
			before.missing = max(0, s.head.After.Bytes-before.size)
		}
	}
	return segments, nil
}

// readHead reads the first whole line, which says whose segment it is. It is the
// first of all, or else the segment is scanned for it.
func (s *segment) readHead(dir string) error {
	line, err := s.firstLine(dir)
	if err == nil && whole(line) {
		return s.takeHead(line)
	}
	err = s.scan(dir, func(_ int64, line []byte) error { return cmp.Or(s.takeHead(line), errStop) }, nil)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// firstLine is it without its newline, whole or not.
func (s *segment) firstLine(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, s.name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxLine+1), 1<<10).ReadBytes('\n')
	return bytes.TrimSuffix(line, []byte{'\n'}), err
}

// takeHead takes what its first whole line says.
func (s *segment) takeHead(line []byte) error {
	kind, entry := peek(line)
	if isRequest(kind) {
		s.run, _, _ = strings.Cut(string(entry), ".")
		return nil
	}
	m, err := decodeMark(line)
	if err != nil {
		return err
	}
	s.run = m.Run
	if m.head() {
		s.head = m
	}
	return nil
}

// scan reads what counts of s. A segment that is gone has been trimmed, and reads
// as empty. With damaged nil nobody wants to know.
func (s *segment) scan(dir string, visit func(offset int64, line []byte) error, damaged func(Damage)) error {
	f, err := os.Open(filepath.Join(dir, s.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	sc := scanner{visit: visit, damaged: func(offset, n int64, torn bool) {
		if damaged != nil && (!torn || !s.live) { // a live writer is about to write the rest
			damaged(Damage{Segment: s.name, Offset: offset, Bytes: n, Torn: torn})
		}
	}}
	if err := sc.scan(io.LimitReader(f, s.counts)); err != nil {
		return err
	}
	if s.missing > 0 && damaged != nil {
		damaged(Damage{Segment: s.name, Offset: s.counts, Bytes: s.missing, Missing: true})
	}
	return nil
}

// locked reports whether a process holds the lock of the file.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	return false, nil
}
