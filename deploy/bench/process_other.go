//go:build !linux

package main

import (
	"errors"
	"runtime"
	"syscall"
	"time"
)

// What the processes of others use is read from Linux' /proc and its clocks.
var errLinux = errors.New("the benchmark needs Linux")

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func raiseDescriptors() (int, error) { return 0, errLinux }

func family(...int) ([]int, error) { return nil, errLinux }

func cpuTime([]int) (time.Duration, error) { return 0, errLinux }

func proportional([]int) (int64, error) { return 0, errLinux }

func resident(int) (int64, error) { return 0, errLinux }

func memoryTotal() (int64, error) { return 0, errLinux }

func processor() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }
