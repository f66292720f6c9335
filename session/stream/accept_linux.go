package stream

import "golang.org/x/sys/unix"

// accept accepts a connection that does not block: a room may not change its mode later.
func accept(listener int) (int, unix.Sockaddr, error) {
	return unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}
