//go:build !linux

package stream

import "syscall"

func sysRead(fd uintptr, p []byte) (int, error)  { return syscall.Read(int(fd), p) }
func sysWrite(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

// sysClosed looks for the end behind what has been read: behind unread octets it
// cannot be seen.
func sysClosed(fd int) (half, whole bool) {
	var one [1]byte
	n, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n == 0 && err == nil, err != nil && err != syscall.EAGAIN && err != syscall.EINTR
}
