package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// disconnect dissolves a connection; the socket stays bound (connect(2), AF_UNSPEC).
func disconnect(fd int) error {
	var nowhere unix.RawSockaddr // family AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
	if errno != 0 {
		return errno
	}
	return nil
}
