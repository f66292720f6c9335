// What FreeBSD makes of the words: capability mode, for whom it leaves all of its work.
// This file owns who that is. The system call is given to it, so that any system can
// tell when FreeBSD would hear it.

package sandbox

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// FreeBSD is the system call with which a process there gives all names up, for good.
type FreeBSD struct {
	CapEnter func() error // cap_enter(2)
}

// byDescriptor are the words for what can be done in capability mode: with a descriptor
// one has, or below that of a directory, by a name without a slash in front and without
// "..". Of what they stand for, and of what the Go runtime does besides, all is in
// sys/kern/capabilities.conf or is marked CAPENABLED in sys/kern/syscalls.master:
//
//   - files: openat, fstatat, unlinkat, renameat, getdirentries, read, write and the like,
//     fstat, lseek, ftruncate, fsync, flock, fcntl, mmap, msync, madvise;
//   - sockets: accept4, recvmsg, sendmsg without an address, shutdown, getsockname,
//     getpeername, getsockopt, setsockopt;
//   - the runtime: thr_new, thr_exit, thr_kill, thr_self, kill for oneself, _umtx_op,
//     sched_yield, nanosleep, clock_gettime, mmap and munmap, sigaction, sigprocmask,
//     sigaltstack, sigreturn, kqueue, kevent, pipe2, getrandom, getrusage, getpid, geteuid.
//
// What it opens or asks with sysctl(3), the page size and the number of processors, it does
// at its start; how many of them it may use it looks up again only without GOMAXPROCS,
// which such a room has. The clock's device (/dev/hpet) it does without.
//
// What connects, or answers any address, names one (connect(2) and bind(2) are ECAPMODE, and
// so is sendto(2) with an address); the packet filter's device is spared with it, and so
// are processes: kill(2) reaches no other.
var byDescriptor = []string{
	"stdio", "stdio-sync", "stdio-splice", "recvfd", "sendfd", "rpath", "wpath", "cpath", "flock", "unix-accept",
}

// belowRoot tells whether all that r allows can be done without a name that begins at the
// root directory, and without an address.
func (r *Rights) belowRoot() bool {
	return len(r.Words) > 0 && !slices.ContainsFunc(r.Words, func(word string) bool { return !slices.Contains(byDescriptor, word) })
}

// Confine leaves what r says. The process is where it will live, and who it will be. A
// kernel without Capsicum leaves it as it is (ENOSYS): Layers says so. A process that is
// in capability mode already stays so, without an error.
func (f *FreeBSD) Confine(r *Rights) error {
	if !r.belowRoot() {
		return nil
	}
	if err := f.CapEnter(); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("capability mode: %w", err)
	}
	return nil
}
