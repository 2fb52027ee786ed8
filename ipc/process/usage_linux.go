package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is USER_HZ, in which /proc counts CPU time: 100 on every Linux port
// that Go supports.
const clockTick = time.Second / 100

// UsageOf reads what a process uses now. The pid must be known to be alive: a
// number that was freed may be a stranger's.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	// The name, in parentheses, may hold anything: proc(5) fields 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("process: /proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("process: /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: time.Duration(ticks) * clockTick, Anonymous: kilobytes(status, "RssAnon:") << 10}, nil
}

// kilobytes is the value of a line such as "RssAnon:    1234 kB"; 0 without one.
func kilobytes(status []byte, name string) uint64 {
	_, after, _ := bytes.Cut(status, []byte("\n"+name))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	n, _ := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(line, []byte("kB")))), 10, 64)
	return n
}
