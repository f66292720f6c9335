package link

import "golang.org/x/sys/unix"

// raiseBuffer makes room for one message of n octets; root may pass the limit of
// net.core.wmem_max, anybody else gets as near to it as the kernel lets.
func raiseBuffer(fd, n int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
	}
}
