package main

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

func setGID(n int) error { return syscall.Setresgid(n, n, n) }
func setUID(n int) error { return syscall.Setresuid(n, n, n) }

// confine leaves no capability, no file, no new socket, no program to run.
func confine() error { return confineTo(0) }

// confineTo does the same, but keeps those capabilities of a mask that there are.
func confineTo(capabilities uint32) error {
	if err := everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil && err != unix.EINVAL {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := new([2]unix.CapUserData)
	if err := unix.Capget(header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	keep := sets[0].Permitted & capabilities
	*sets = [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(sets)))
	runtime.KeepAlive(header)
	runtime.KeepAlive(sets)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	// As much of it as the kernel has.
	landlocked := landlock.V5.BestEffort()
	if err := landlocked.RestrictPaths(); err != nil {
		return fmt.Errorf("no files: %w", err)
	}
	if err := landlocked.RestrictNet(); err != nil {
		return fmt.Errorf("no calls: %w", err)
	}
	return closeCalls()
}

// everyThread makes a system call in each thread. A binary linked with cgo, as
// for the race detector, reaches only this one.
func everyThread(call, a, b uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(call, a, b, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP {
		_, _, errno = syscall.RawSyscall6(call, a, b, 0, 0, 0, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}
