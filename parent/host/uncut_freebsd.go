// A file that rooms add to must not be cut short by one, nor written over. This file
// owns how a descriptor is made one that cannot: Capsicum leaves it some rights, for
// whoever holds it (cap_rights_limit(2), rights(4)).

package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// keepWhole leaves a descriptor of a file no other use than to add to it. A kernel
// without Capsicum leaves it as it is: there is a log all the same.
func keepWhole(f *os.File) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		// Besides write(2) package os asks for the flags, which must not change: they
		// say that it appends.
		rights, err := unix.CapRightsInit([]uint64{unix.CAP_WRITE, unix.CAP_FSTAT, unix.CAP_FCNTL})
		if err == nil && unix.CapRightsLimit(fd, rights) == nil {
			unix.Syscall(unix.SYS_CAP_FCNTLS_LIMIT, fd, unix.CAP_FCNTL_GETFL, 0)
		}
	})
}
