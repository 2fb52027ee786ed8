package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A screen is a terminal with a program on it: what the program writes moves a
// cursor over a grid, as on the glass. It knows the sequences of ECMA-48 that
// programs for a VT220 use, and notes those that it does not know.
type screen struct {
	t      *testing.T
	master *os.File
	slave  *os.File // kept open: the settings of the terminal are asked for after the program's end
	before unix.Termios
	cmd    *exec.Cmd
	exited chan struct{}
	read   chan struct{} // closed when nothing more comes

	mu            sync.Mutex
	columns, rows int
	grid          [][]rune
	x, y          int
	first, last   int  // rows that scroll
	insert        bool // what is written moves the rest of its row
	alternate     bool // the second screen, on which full-screen programs draw
	hidden        bool // the cursor
	raw           strings.Builder
	unknown       []string
}

// openScreen starts cmd on a terminal of its own.
func openScreen(t *testing.T, columns, rows int, cmd *exec.Cmd) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	s := &screen{t: t, master: master, cmd: cmd, exited: make(chan struct{}), read: make(chan struct{})}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if s.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	s.before = s.settings()
	s.resize(columns, rows)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // its state is read once exited is closed
		close(s.exited)
	}()
	go s.receive()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.exited
		s.slave.Close()
		<-s.read // the master ends with the last slave
		s.master.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s\nall that was written: %q", s.text(), s.written())
		}
		if len(s.unknown) > 0 {
			t.Errorf("sequences that this screen does not know: %q", s.unknown)
		}
	})
	return s
}

// resize is what a window does when somebody pulls at it.
func (s *screen) resize(columns, rows int) {
	s.mu.Lock()
	s.columns, s.rows, s.grid = columns, rows, nil
	s.clear()
	s.mu.Unlock()
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		s.t.Fatal(err)
	}
}

// clear empties the grid; mu is held.
func (s *screen) clear() {
	s.first, s.last = 0, s.rows-1
	s.grid = make([][]rune, s.rows)
	for y := range s.grid {
		s.grid[y] = s.blank(s.columns)
	}
}

func (s *screen) blank(columns int) []rune { return []rune(strings.Repeat(" ", columns)) }

// scroll moves the rows from one on to the last that scrolls up by n, or down.
func (s *screen) scroll(from, n int) {
	for range max(n, -n) {
		if n > 0 {
			copy(s.grid[from:s.last], s.grid[from+1:s.last+1])
			s.grid[s.last] = s.blank(s.columns)
		} else {
			copy(s.grid[from+1:s.last+1], s.grid[from:s.last])
			s.grid[from] = s.blank(s.columns)
		}
	}
}

func (s *screen) receive() {
	defer close(s.read)
	var pending []byte
	buffer := make([]byte, 16<<10)
	for {
		n, err := s.master.Read(buffer)
		s.mu.Lock()
		s.raw.Write(buffer[:n])
		pending = s.draw(append(pending, buffer[:n]...))
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// draw does what text says and returns what is not whole yet; mu is held.
func (s *screen) draw(text []byte) []byte {
	for len(text) > 0 {
		switch c := text[0]; {
		case c == 0x1b:
			used := s.escape(text)
			if used == 0 {
				return text
			}
			text = text[used:]
			continue
		case c == '\r':
			s.x = 0
		case c == '\n':
			if s.y == s.last {
				s.scroll(s.first, 1)
			} else {
				s.y = min(s.rows-1, s.y+1)
			}
		case c == '\b':
			s.x = max(0, s.x-1)
		case c == '\t':
			s.x = min(s.columns-1, s.x/8*8+8)
		case c < ' ':
		default:
			if !utf8.FullRune(text) {
				return text
			}
			r, size := utf8.DecodeRune(text)
			if s.x < s.columns {
				if s.insert {
					copy(s.grid[s.y][s.x+1:], s.grid[s.y][s.x:])
				}
				s.grid[s.y][s.x] = r
			}
			s.x++
			text = text[size:]
			continue
		}
		text = text[1:]
	}
	return nil
}

// escape does one sequence and returns its length; 0: there is more to come.
func (s *screen) escape(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '[':
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				s.control(string(text[2:i]), text[i])
				return i + 1
			}
		}
		return 0
	case ']', 'P': // a string, to BEL or ST
		for i := 2; i < len(text); i++ {
			if text[i] == 7 {
				return i + 1
			}
			if text[i] == '\\' && text[i-1] == 0x1b {
				return i + 1
			}
		}
		return 0
	case 'M': // up, reverse index
		if s.y == s.first {
			s.scroll(s.first, -1)
		} else {
			s.y = max(0, s.y-1)
		}
	case 'H', '=', '>', '7', '8':
	default:
		s.unknown = append(s.unknown, string(text[:2]))
	}
	return 2
}

// control does one control sequence.
func (s *screen) control(parameters string, final byte) {
	n := func(i, otherwise int) int {
		parts := strings.Split(parameters, ";")
		if i < len(parts) {
			if v, err := strconv.Atoi(parts[i]); err == nil && v > 0 {
				return v
			}
		}
		return otherwise
	}
	switch final {
	case 'A':
		s.y = max(0, s.y-n(0, 1))
	case 'B':
		s.y = min(s.rows-1, s.y+n(0, 1))
	case 'C':
		s.x = min(s.columns-1, s.x+n(0, 1))
	case 'D':
		s.x = max(0, s.x-n(0, 1))
	case 'G', '`':
		s.x = min(s.columns, n(0, 1)) - 1
	case 'd':
		s.y = min(s.rows, n(0, 1)) - 1
	case 'H', 'f':
		s.y, s.x = min(s.rows, n(0, 1))-1, min(s.columns, n(1, 1))-1
	case 'J':
		s.erase(s.y, s.x, s.rows, n(0, 0) == 2)
	case 'K':
		s.erase(s.y, s.x, s.y+1, n(0, 0) == 2)
	case 'X':
		for i := s.x; i < min(s.columns, s.x+n(0, 1)); i++ {
			s.grid[s.y][i] = ' '
		}
	case 'P': // characters out, the rest moves left
		row := s.grid[s.y]
		gone := min(n(0, 1), s.columns-s.x)
		copy(row[s.x:], append(row[s.x+gone:], s.blank(gone)...))
	case '@': // blanks in
		row := s.grid[s.y]
		come := min(n(0, 1), s.columns-s.x)
		s.grid[s.y] = slices.Concat(row[:s.x], s.blank(come), row[s.x:s.columns-come])
	case 'L':
		s.scroll(s.y, -n(0, 1))
	case 'M':
		s.scroll(s.y, n(0, 1))
	case 'S':
		s.scroll(s.first, n(0, 1))
	case 'T':
		s.scroll(s.first, -n(0, 1))
	case 'r':
		s.first, s.last = min(s.rows, n(0, 1))-1, min(s.rows, n(1, s.rows))-1
		s.x, s.y = 0, 0
	case 'h', 'l':
		s.mode(parameters, final == 'h')
	case 'm', 'p', 'u', 'W', 'q', 'c', 't', 'n', 'g': // colours, questions, keys, tabs
	default:
		s.unknown = append(s.unknown, "CSI "+parameters+string(final))
	}
}

// erase empties from a place to a row, or all of those rows.
func (s *screen) erase(y, x, end int, all bool) {
	if all {
		x = 0
		if end == s.rows {
			y = 0
		}
	}
	for ; y < end; y, x = y+1, 0 {
		for ; x < s.columns; x++ {
			s.grid[y][x] = ' '
		}
	}
}

func (s *screen) mode(parameters string, set bool) {
	switch parameters {
	case "4":
		s.insert = set
	case "?1049":
		s.alternate = set
		s.clear()
	case "?25":
		s.hidden = !set
	}
}

// text is what somebody sees.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.grid {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

func (s *screen) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// line is the first that contains a text, empty when there is none.
func (s *screen) line(with string) string {
	for line := range strings.Lines(s.text()) {
		if strings.Contains(line, with) {
			return line
		}
	}
	return ""
}

// sees waits for a line that has all of some texts.
func (s *screen) sees(within time.Duration, texts ...string) time.Duration {
	s.t.Helper()
	return eventually(s.t, within, fmt.Sprintf("a line with %q", texts), func() bool {
		for line := range strings.Lines(s.text()) {
			found := true
			for _, text := range texts {
				found = found && strings.Contains(line, text)
			}
			if found {
				return true
			}
		}
		return false
	})
}

// types presses keys.
func (s *screen) types(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// settings are those of the terminal driver: echo, lines, signals.
func (s *screen) settings() unix.Termios {
	s.t.Helper()
	settings, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *settings
}

// ends waits for the program's end and returns its exit code.
func (s *screen) ends(within time.Duration) int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(within):
		s.t.Fatalf("the program still runs after %v", within)
	}
	return s.cmd.ProcessState.ExitCode()
}
