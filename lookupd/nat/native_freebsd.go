package nat

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var native = &freeBSD

// The layout's address families are this system's, or this does not compile.
var (
	_ [unix.AF_INET - 2]struct{}   = [0]struct{}{}
	_ [unix.AF_INET6 - 28]struct{} = [0]struct{}{}
)

// Limit leaves device no other use than lookups: whoever takes this process over
// cannot read the rules. Without Capsicum in the kernel it does nothing.
func Limit(device *os.File) error {
	rights, err := unix.CapRightsInit([]uint64{unix.CAP_IOCTL})
	if err != nil {
		return fmt.Errorf("limit %s: %w", device.Name(), err)
	}
	raw, err := device.SyscallConn()
	if err != nil {
		return err
	}
	lookups := [...]uintptr{uintptr(freeBSD.request), uintptr(ipfObject64.request), uintptr(ipfObject32.request)}
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.CapRightsLimit(fd, rights); err != nil {
			return
		}
		_, _, errno := unix.Syscall(unix.SYS_CAP_IOCTLS_LIMIT, fd, uintptr(unsafe.Pointer(&lookups)), uintptr(len(lookups)))
		if errno != 0 {
			err = errno
		}
	})
	if err = errors.Join(cerr, err); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("limit %s: %w", device.Name(), err)
	}
	return nil
}
