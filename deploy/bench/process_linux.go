package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownGroup makes a child the leader of a process group, which dies with us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// raiseDescriptors lets us and our children open as many files as we may, and
// returns how many.
func raiseDescriptors() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	// Go raises its own limit at the start, and gives children the old one unless
	// the program itself has set it.
	limit.Cur = limit.Max
	return int(min(limit.Max, 1<<30)), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// family is the processes with these ids and all that descend from them, in
// order of their ids.
func family(roots ...int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// pid (command) state parent ..., and the command may have brackets too.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid, errPid := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if len(fields) < 2 || errPid != nil {
			return nil, fmt.Errorf("%s: %q", name, text)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		children[parent] = append(children[parent], pid)
	}
	all := slices.Clone(roots)
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	slices.Sort(all)
	return all, nil
}

// cpuTime is what the processes have used so far, in user and system mode, threads
// that have ended included. It is the sum that /proc shows as utime and stime, which
// has a resolution of 10 ms, from the clock behind it, which counts nanoseconds.
func cpuTime(pids []int) (time.Duration, error) {
	const ofGroup = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	total := time.Duration(0)
	for _, pid := range pids {
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|ofGroup), &used); err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		total += time.Duration(used.Nano())
	}
	return total, nil
}

// proportional is the memory of the processes in bytes, where a page that several
// share counts for each in part (PSS).
func proportional(pids []int) (int64, error) {
	total := int64(0)
	for _, pid := range pids {
		n, err := kibField(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// resident is the memory of one process in bytes (RSS).
func resident(pid int) (int64, error) {
	return kibField(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// kibField is the field of a file in /proc that counts KiB, in bytes.
func kibField(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// memoryTotal is that of the machine, in bytes.
func memoryTotal() (int64, error) { return kibField("/proc/meminfo", "MemTotal:") }

// processor is what the CPU calls itself.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// kernel is its name and release.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "Linux"
	}
	return "Linux " + strings.TrimSpace(string(text))
}
