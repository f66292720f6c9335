package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate has a socket's port chosen when it connects, not when it is bound to an address:
// else all connections of an address, whereto ever, share its ports, ip(7).
func bindLate(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); failed != nil {
		return failed
	}
	return err
}
