// Package board is the stage board: memory that a supervisor shares with one
// worker, in which the worker notes how far it got with each exchange *before*
// it acts. When the worker dies, the board is what can still be asked.
//
// A cell belongs to one data connection and so to one exchange at a time. It
// holds (sequence, stage) in one word; both sides change it by compare-and-swap
// only. That makes two statements proofs and not guesses:
//
//   - A worker that died below exchange.Sent wrote nothing to its backend, or had
//     its backend's proof that nothing was done with it (Retract).
//   - An exchange that the supervisor gave up below Sent (Fence) will never be
//     sent either: the worker's later attempt to raise it fails.
//
// The price is no system call and about ten nanoseconds a step.
package board

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc/exchange"
)

// cellSize keeps each cell on a cache line of its own: neighbours belong to
// other connections.
const cellSize = 64

const (
	stageBits = 3
	stageMask = 1<<stageBits - 1
	fenced    = stageMask // given up by the supervisor before it was sent
)

// Board is one mapping of the shared memory. Its methods are safe for
// concurrent use, by both processes. A cell out of range panics.
type Board struct {
	mem   []byte
	cells uint32
}

// Create makes a board of so many cells, and the file to hand to the worker.
// The caller closes the file; the memory goes when nothing refers to the Board.
func Create(cells uint32) (*Board, *os.File, error) {
	f, err := anonymousFile("coordinator-board")
	if err != nil {
		return nil, nil, fmt.Errorf("stage board: %w", err)
	}
	if err := f.Truncate(int64(cells) * cellSize); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("stage board of %d cells: %w", cells, err)
	}
	if err := seal(f); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("stage board: %w", err)
	}
	b, err := Open(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return b, f, nil
}

// Open maps a board that the other side created.
func Open(f *os.File) (*Board, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stage board: %w", err)
	}
	size := info.Size()
	if size < cellSize || size > 1<<30 {
		return nil, fmt.Errorf("stage board: a file of %d bytes is none", size)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("stage board: %w", err)
	}
	b := &Board{mem: mem, cells: uint32(size / cellSize)}
	// No Close: an exchange may still ask when the worker is long gone, and a
	// read of unmapped memory would end the supervisor.
	runtime.AddCleanup(b, func(mem []byte) { _ = unix.Munmap(mem) }, mem)
	return b, nil
}

// Cells is the number of connections the board has room for.
func (b *Board) Cells() uint32 { return b.cells }

// cell points into the mapping, and does not keep it: callers keep b alive.
func (b *Board) cell(i uint32) *atomic.Uint32 {
	if i >= b.cells {
		panic("stage board: no such cell")
	}
	return (*atomic.Uint32)(unsafe.Pointer(&b.mem[i*cellSize]))
}

func word(seq uint32, s exchange.Stage) uint32 { return seq<<stageBits | uint32(s) }

// same reports whether w belongs to exchange seq; sequences wrap with the bits
// that the word has for them.
func same(w, seq uint32) bool { return w>>stageBits == seq<<stageBits>>stageBits }

// Begin notes a new exchange. The supervisor calls it before it sends the head.
func (b *Board) Begin(cell, seq uint32) {
	defer runtime.KeepAlive(b)
	b.cell(cell).Store(word(seq, exchange.Waiting))
}

// Raise notes that the worker is about to act. It reports false when the
// exchange was given up or has been followed by another: then it must not act.
func (b *Board) Raise(cell, seq uint32, to exchange.Stage) bool {
	defer runtime.KeepAlive(b)
	c := b.cell(cell)
	for {
		w := c.Load()
		if !same(w, seq) || w&stageMask == fenced {
			return false
		}
		if exchange.Stage(w&stageMask) >= to || c.CompareAndSwap(w, word(seq, to)) {
			return true
		}
	}
}

// Retract brings an exchange that stands at Sent back to Taken, for there is proof
// that its backend did not take it up. It does nothing at any other stage.
func (b *Board) Retract(cell, seq uint32) {
	defer runtime.KeepAlive(b)
	b.cell(cell).CompareAndSwap(word(seq, exchange.Sent), word(seq, exchange.Taken))
}

// Stage is how far the exchange got.
func (b *Board) Stage(cell, seq uint32) exchange.Stage {
	defer runtime.KeepAlive(b)
	return reached(b.cell(cell).Load(), seq)
}

// Fence gives the exchange up and returns how far it got. Below exchange.Sent
// it stays there for good.
func (b *Board) Fence(cell, seq uint32) exchange.Stage {
	defer runtime.KeepAlive(b)
	c := b.cell(cell)
	for {
		w := c.Load()
		if s := reached(w, seq); s >= exchange.Sent || !same(w, seq) {
			return s
		}
		if c.CompareAndSwap(w, seq<<stageBits|fenced) {
			return reached(w, seq)
		}
	}
}

// reached reads a word. A stage that no version of ours writes comes from a
// worker that scribbles: it proves nothing, so it counts as sent.
func reached(w, seq uint32) exchange.Stage {
	if !same(w, seq) {
		return exchange.Sent
	}
	switch s := w & stageMask; {
	case s == fenced:
		return exchange.Taken
	case s <= uint32(exchange.Answered):
		return exchange.Stage(s)
	}
	return exchange.Sent
}
