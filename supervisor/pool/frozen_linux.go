package pool

import (
	"bytes"
	"os"
	"strconv"
)

// frozen reports whether the kernel says that a process is stopped: state T or
// t in proc(5).
func frozen(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything.
	state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(state) > 0 && (state[0] == 'T' || state[0] == 't')
}
