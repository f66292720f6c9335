// What Linux has for a sandbox. This file owns the system calls that are about a
// thread but must bind them all.

package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// SetName changes what ps and top call this process, 15 octets at most; after exec
// of /proc/self/exe they would say "exe". Cosmetic: a failure does not matter.
func SetName(name string) {
	if name != "" {
		os.WriteFile("/proc/self/comm", []byte(name), 0)
	}
}

// The calls of package syscall reach every thread of the runtime.
func setGroups(all []int) error { return syscall.Setgroups(all) }
func setGID(n int) error        { return syscall.Setresgid(n, n, n) }
func setUID(n int) error        { return syscall.Setresuid(n, n, n) }

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = n, n }

// dropBoundingSet empties the bounding set: no program this process could ever
// start gains a capability. It needs a privilege itself, so it comes first. Without
// that one the set stays: a parent that is root has said so.
func dropBoundingSet() error {
	for c := range uintptr(64) {
		switch err := prctl(unix.PR_CAPBSET_DROP, c, 0); err {
		case nil:
		case unix.EINVAL: // past the last one this kernel knows
			return nil
		case unix.EPERM: // no CAP_SETPCAP
			return nil
		default:
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// dropCapabilities drops every capability, but keeps those of a mask that there
// are.
func dropCapabilities(but uint32) error {
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := new([2]unix.CapUserData)
	if err := unix.Capget(header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	keep := sets[0].Permitted & but
	*sets = [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(sets)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(sets)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// setNoNewPrivs closes set-uid programs.
func setNoNewPrivs() error {
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

func prctl(option, a, b uintptr) error { return everyThread(unix.SYS_PRCTL, option, a, b) }

// setPriority: on Linux a priority is a thread's.
func setPriority(n int) error {
	return everyThread(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(n))
}

// everyThread makes a system call in each thread. For a binary linked with cgo, as
// for the race detector, that takes /proc: behind a changed root directory such a
// one reaches only this thread, and Enter sees to it that no other needs it.
func everyThread(call, a, b, c uintptr) error {
	if LinkedWithCgo {
		if _, err := os.Stat("/proc/self/task"); err != nil {
			_, _, errno := syscall.RawSyscall6(call, a, b, c, 0, 0, 0)
			return asError(errno)
		}
	}
	_, _, errno := psx.Syscall6(call, a, b, c, 0, 0, 0)
	return asError(errno)
}

func asError(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// SetCloseOnExec keeps what our own starter left open from going on to who we
// start.
func SetCloseOnExec() {
	if unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := 3; fd < 1024; fd++ { // before Linux 5.11
		unix.CloseOnExec(fd)
	}
}

// slack is how late a room's timers may be, in nanoseconds. The Go runtime has a
// thread that looks around every 20 µs while there is work; in rooms that wake
// for a few microseconds at a time it was a sixth of the cost. Nothing we time is
// finer than this.
const slack = 1_000_000

// Relaxed calls start, which starts a process, whose threads inherit the slack
// (prctl(2), PR_SET_TIMERSLACK: kept across fork and exec).
func Relaxed(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to our own
	}
	return start()
}
