package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns one that nobody looks at.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	_, slave := openTerminals(t)
	return slave
}

// openTerminals returns both ends of one: who types, and the program.
func openTerminals(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestColourOnTerminals(t *testing.T) {
	tty := openTerminal(t)
	for environ, want := range map[string]bool{
		"":                     true,
		"TERM=xterm NO_COLOR=": true,
		"NO_COLOR=1":           false,
		"TERM=dumb":            false,
	} {
		if got := (&terminal{environ: strings.Fields(environ), stdout: tty}).colour(); got != want {
			t.Errorf("%q: %v, want %v", environ, got, want)
		}
	}
}
