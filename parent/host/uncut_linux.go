// A file that rooms add to must not be cut short by one. This file owns how a descriptor
// is had that cannot: whether it may is settled by Landlock when it is opened, for whoever
// holds it (landlock(7), LANDLOCK_ACCESS_FS_TRUNCATE), and that binds the thread that
// opens it for ever. Such a thread must end.

package host

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openUncuttable is open(2) of an existing file for a descriptor that ftruncate(2)
// refuses. Before Linux 6.2, and where Landlock is off, it is any.
func openUncuttable(path string, flags int, perm uint32) (fd int, err error) {
	onDoomedThread(func() {
		forbidCutting() // without it there is a log all the same
		fd, err = unix.Open(path, flags, perm)
	})
	return fd, err
}

// onDoomedThread does something on a thread that ends with it: the runtime ends one
// whose goroutine has not let go of it, and clones none from it. Only the first thread
// of a process would stay; it is kept busy meanwhile.
func onDoomedThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onDoomedThread(do)
			runtime.UnlockOSThread()
			return
		}
		do()
	}()
	<-done
}

// forbidCutting takes from this thread the right to truncate what it opens.
func forbidCutting() error {
	handled := uint64(unix.LANDLOCK_ACCESS_FS_TRUNCATE) // and granted nowhere
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(rules))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// keepWhole does nothing: openUncuttable has seen to it.
func keepWhole(*os.File) {}
