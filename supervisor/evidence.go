package supervisor

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/pool"
)

// What the folder of evidence may hold. The oldest goes first.
const (
	evidenceFiles = 50
	evidenceBytes = 32 << 20
)

const (
	evidenceWriters  = 8               // files that are made at a time; more are dropped
	evidencePatience = 2 * time.Second // for the disk, when the supervisor stops
)

// evidence keeps what workers looked like when they were given up: a text file
// each, in a folder that is its alone. The disk may hang: nobody waits for it
// but goroutines of its own, of which there are a few at most.
type evidence struct {
	dir     string
	log     hclog.Logger
	writers chan struct{} // a token for each file in the making
	running sync.WaitGroup
	mu      sync.Mutex // one file, and the clean-up before it, at a time
}

func newEvidence(stateDir string, log hclog.Logger) *evidence {
	return &evidence{dir: filepath.Join(stateDir, "evidence"), log: log, writers: make(chan struct{}, evidenceWriters)}
}

// witness is the pool.Witness of a bulkhead.
func (e *evidence) witness(b *Bulkhead, lost pool.Loss) (path string, keep func()) {
	t := &testimony{
		bulkhead: b.settings.Load().Name, slot: lost.Slot, worker: lost.Worker, at: time.Now(),
		cause: string(lost.Cause), err: lost.Err,
	}
	t.flights = b.watch.heldBy(lost.Worker, t.at)
	path = e.path(t)
	return path, func() {
		text := t.text()
		e.aside(path, func() []byte { return text })
	}
}

// path is where the evidence of t goes: BULKHEAD-SLOT-TIME-PID.txt, in UTC.
func (e *evidence) path(t *testimony) string {
	return filepath.Join(e.dir, fmt.Sprintf("%s-%d-%s-%d.txt",
		t.bulkhead, t.slot, t.at.UTC().Format("20060102T150405.000Z"), t.worker.Pid()))
}

// aside has text made and written on a goroutine of its own.
func (e *evidence) aside(path string, text func() []byte) {
	select {
	case e.writers <- struct{}{}:
	default:
		e.log.Warn("evidence not kept", "evidence", path, "error", "the disk does not keep up")
		return
	}
	e.running.Go(func() {
		defer func() { <-e.writers }()
		if err := e.write(path, text()); err != nil {
			e.log.Warn("evidence not kept", "evidence", path, "error", err)
		}
	})
}

// write makes room, then a file that is there whole or not at all.
func (e *evidence) write(path string, text []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return err
	}
	e.makeRoom(int64(len(text)))
	unfinished := path + ".part"
	if err := os.WriteFile(unfinished, text, 0o600); err != nil {
		_ = os.Remove(unfinished)
		return err
	}
	return os.Rename(unfinished, path)
}

// makeRoom removes the oldest files until one of so many bytes fits.
func (e *evidence) makeRoom(size int64) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return // the write says what is wrong
	}
	var files []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
			size += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for len(files) > 0 && (len(files) >= evidenceFiles || size > evidenceBytes) {
		_ = os.Remove(filepath.Join(e.dir, files[0].Name()))
		size -= files[0].Size()
		files = files[1:]
	}
}

// close waits for what is being written, unless the disk hangs. Nothing may be
// kept any more.
func (e *evidence) close() {
	written := make(chan struct{})
	go func() { defer close(written); e.running.Wait() }()
	patience := time.NewTimer(evidencePatience)
	defer patience.Stop()
	select {
	case <-written:
	case <-patience.C:
		e.log.Warn("evidence not kept", "evidence", e.dir, "error", "the disk does not answer")
	}
}
