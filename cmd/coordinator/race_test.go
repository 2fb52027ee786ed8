//go:build linux && race

package main_test

// raced says that the race detector watches, whose shadow of the memory counts as
// memory too.
const raced = true
