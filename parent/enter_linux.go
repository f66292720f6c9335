// What Linux has for a room's sandbox. This file owns the system calls that are
// about a thread but must bind them all.

package parent

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setName changes what ps and top call the process; after exec of
// /proc/self/exe they would say "exe". Cosmetic: a failure does not matter.
func setName(name string) { os.WriteFile("/proc/self/comm", []byte(name), 0) }

// The calls of package syscall reach every thread of the runtime.
func setGroups(all []int) error { return syscall.Setgroups(all) }
func setGID(n int) error        { return syscall.Setresgid(n, n, n) }
func setUID(n int) error        { return syscall.Setresuid(n, n, n) }

// Layers names what holds a room of this build.
func Layers() []string { return []string{"users", "chroot", "capabilities", "no_new_privs"} }

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = n, n }

// giveUpFuture empties the bounding set: no program this room could ever start
// gains a capability. It needs a privilege itself, so it comes first.
func giveUpFuture() error {
	for c := range uintptr(64) {
		switch err := prctl(unix.PR_CAPBSET_DROP, c, 0); err {
		case nil:
		case unix.EINVAL: // past the last one this kernel knows
			return nil
		case unix.EPERM: // we have no privilege to begin with
			return nil
		default:
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// giveUpPresent drops every capability and, but for the room that runs scripts,
// closes set-uid programs: a script may use sudo.
func giveUpPresent(scripts bool) error {
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	none := new([2]unix.CapUserData)
	err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(none)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(none)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if scripts {
		return nil
	}
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

// everyThread makes a system call in each thread. A binary linked with cgo, as
// for the race detector, reaches only this one.
func everyThread(call, a, b, c uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(call, a, b, c, 0, 0, 0)
	if errno == syscall.ENOTSUP {
		_, _, errno = syscall.RawSyscall6(call, a, b, c, 0, 0, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// hideInherited keeps what our own starter left open from going on to the rooms.
func hideInherited() {
	if unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := 3; fd < 1024; fd++ { // before Linux 5.11
		unix.CloseOnExec(fd)
	}
}

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// newLedger makes the file in which counters outlive their keeper.
func newLedger() (*os.File, error) {
	fd, err := unix.MemfdCreate("ledger", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the ledger: %w", err)
	}
	return os.NewFile(uintptr(fd), "ledger"), nil
}
