package socket

import "golang.org/x/sys/unix"

// setTransparent lets a socket have an address that is not ours (ip(7),
// IP_TRANSPARENT). On a listener it is what makes TPROXY rules find it.
func setTransparent(fd int, six bool) error {
	if six {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

// setMark is SO_MARK of socket(7).
func setMark(fd int, n uint32) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(n))
}

// bindLate has connect choose the port, when both addresses are known: one
// client may then have 28,000 connections to each server instead of to all. The
// option of ip(7) serves IPv6 too.
func bindLate(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
