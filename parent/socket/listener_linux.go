package socket

import "golang.org/x/sys/unix"

// spreads: sockets bound to one address share its connections (socket(7),
// SO_REUSEPORT).
const spreads = true

func spread(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}
