package cgroup

// FindIn is Find on a machine made of files.
func FindIn(proc string, pid int, mkdir, rmdir func(string) error, prefix string) (*Tree, error) {
	return kernel{proc: proc, pid: pid, mkdir: mkdir, rmdir: rmdir}.find(prefix)
}

// Path is a group's directory.
func (g *Group) Path() string { return g.dir }
