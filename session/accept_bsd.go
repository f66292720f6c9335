//go:build freebsd || openbsd

package session

import "golang.org/x/sys/unix"

// accept accepts a connection that does not block, as its listener does not.
func accept(listener int) (int, error) {
	fd, _, err := unix.Accept(listener)
	return fd, err
}
