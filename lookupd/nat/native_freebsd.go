package nat

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

var native = &freeBSD

// The layout's address families are this system's, or this does not compile.
var (
	_ [unix.AF_INET - 2]struct{}   = [0]struct{}{}
	_ [unix.AF_INET6 - 28]struct{} = [0]struct{}{}
)

// limit leaves fd no other use than lookups: whoever takes a process over that has
// it cannot read the rules. Without Capsicum in the kernel it does nothing.
func limit(fd int) error {
	rights, err := unix.CapRightsInit([]uint64{unix.CAP_IOCTL})
	if err != nil {
		return err
	}
	if err = unix.CapRightsLimit(uintptr(fd), rights); err == nil {
		lookups := [...]uintptr{uintptr(freeBSD.request), uintptr(ipfObject64.request), uintptr(ipfObject32.request)}
		if _, _, errno := unix.Syscall(unix.SYS_CAP_IOCTLS_LIMIT, uintptr(fd), uintptr(unsafe.Pointer(&lookups)), uintptr(len(lookups))); errno != 0 {
			err = errno
		}
	}
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
