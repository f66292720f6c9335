package session

import "golang.org/x/sys/unix"

// accept accepts a connection that does not block: we may not change its mode later.
func accept(listener int) (int, error) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return fd, err
}
