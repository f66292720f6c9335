//go:build !linux

package stream

import (
	"net/netip"
	"syscall"
)

func sysRead(fd uintptr, p []byte) (int, error)  { return syscall.Read(int(fd), p) }
func sysWrite(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

// sysConnected tells whether a connection is made that was begun. The error is ErrAgain
// while it is not.
func sysConnected(fd int, _ netip.AddrPort) error {
	errno, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	switch {
	case err != nil:
		return err
	case errno != 0:
		return syscall.Errno(errno)
	}
	if _, err := syscall.Getpeername(fd); err != nil {
		return ErrAgain
	}
	return nil
}

// sysClosed looks for the end behind what has been read: behind unread octets it
// cannot be seen.
func sysClosed(fd int) (half, whole bool) {
	var one [1]byte
	n, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n == 0 && err == nil, err != nil && err != syscall.EAGAIN && err != syscall.EINTR
}
