// Package cgroup holds worker processes to a memory limit that the kernel
// enforces, in control groups of version 2 or, where that has no memory
// controller, version 1 (cgroups(7)).
//
// # Whose groups
//
// Find looks for a group that belongs to this process: the one it is in, if it is
// alone there and may write to it. A group that others are in too, such as that
// of a login shell, is theirs, and is left as it is. Find changes nothing.
//
// Take makes it ready: the process moves itself to a leaf below its group,
// because version 2 gives controllers to a group's children only while nobody is
// in the group itself. Below it, next to that leaf, each worker gets a Group of
// its own. Nothing outside is touched, and in it nothing whose name does not
// begin with the prefix that Take was given.
//
//	group of the service       found; empty once it is taken
//	├── PREFIX-supervisor      this process
//	├── PREFIX-g1-w1           a worker and whatever it starts
//	└── PREFIX-g1-w2
//
// # What ends
//
// A Group ends with its worker: Close kills what the worker has left in it and
// removes it. Groups that a supervisor could not close because it was killed are
// removed by the next one that takes the same group with the same prefix. A
// successor that starts while its predecessor still runs is born into the leaf;
// it takes the same group and removes nothing.
package cgroup
