//go:build !linux

package link

import "golang.org/x/sys/unix"

// raiseBuffer makes room for one message of n octets, both ways: on the BSDs the
// receiver's buffer limits a datagram too.
func raiseBuffer(fd, n int) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
}
