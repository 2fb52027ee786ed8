package board_test

import (
	"errors"
	"syscall"
	"testing"

	"commerce.example/coordinator/ipc/board"
)

// A worker holds the descriptor too. Were the file cut short, the supervisor
// would die of its next look at the board.
func TestNobodyCutsTheBoardShort(t *testing.T) {
	b, f, err := board.Create(4)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{0, 1 << 20} {
		if err := f.Truncate(size); !errors.Is(err, syscall.EPERM) {
			t.Errorf("truncate to %d: %v", size, err)
		}
	}
	b.Begin(3, 1)
}
