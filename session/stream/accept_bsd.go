//go:build freebsd || openbsd

package stream

import "golang.org/x/sys/unix"

// accept accepts a connection that does not block, as its listener does not.
func accept(listener int) (int, unix.Sockaddr, error) {
	fd, sa, err := unix.Accept(listener)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, sa, err
}
