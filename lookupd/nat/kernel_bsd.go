//go:build freebsd || openbsd

// The real ioctl(2). On OpenBSD it is libc that makes system calls, and of all the
// ways to ask for one only unix.Syscall with SYS_IOCTL gets there.

package nat

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device makes calls on device, which stays the caller's.
func Device(device *os.File) Kernel {
	return func(c Call) error {
		raw, err := device.SyscallConn()
		if err != nil {
			return err
		}
		var pin runtime.Pinner
		defer pin.Unpin()
		if len(c.Inner) > 0 {
			pin.Pin(&c.Inner[0])
			at := uint64(uintptr(unsafe.Pointer(&c.Inner[0])))
			if strconv.IntSize == 64 {
				binary.NativeEndian.PutUint64(c.Arg[c.Pointer:], at)
			} else {
				binary.NativeEndian.PutUint32(c.Arg[c.Pointer:], uint32(at))
			}
		}
		var errno unix.Errno
		err = raw.Control(func(fd uintptr) {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(c.Request), uintptr(unsafe.Pointer(&c.Arg[0])))
		})
		if err == nil && errno != 0 {
			err = errno
		}
		return err
	}
}
