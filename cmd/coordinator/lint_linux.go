package main

import (
	"bytes"
	"cmp"
	"os"
	"path"
	"strconv"
	"strings"
)

// machineMemory is the memory of this machine, or of the control groups that this
// process is in; 0: not known.
func machineMemory() uint64 {
	known := []uint64{0}
	text, _ := os.ReadFile("/proc/meminfo")
	_, after, _ := bytes.Cut(text, []byte("MemTotal:"))
	if fields := strings.Fields(string(after[:min(len(after), 64)])); len(fields) > 0 {
		kib, _ := strconv.ParseUint(fields[0], 10, 54)
		known = append(known, kib<<10)
	}
	groups, _ := os.ReadFile("/proc/self/cgroup") // cgroups(7)
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "":
			known = append(known, groupMemory("/sys/fs/cgroup", parts[2], "memory.max"))
		case parts[1] == "memory":
			known = append(known, groupMemory("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return leastOf(known...)
}

// groupMemory is the least limit of a control group and those it is in, up to the
// root of what is mounted. In a container that is its own group.
func groupMemory(root, group, file string) (least uint64) {
	for ; ; group = path.Dir(group) {
		text, _ := os.ReadFile(path.Join(root, group, file))
		limit, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // "max" is none
		least = leastOf(least, limit)
		if group == "/" || group == "." {
			return least
		}
	}
}

// leastOf is the least of what is known: of figures above 0.
func leastOf(figures ...uint64) (least uint64) {
	for _, f := range figures {
		if f > 0 {
			least = min(cmp.Or(least, f), f)
		}
	}
	return least
}
