package socket

import "golang.org/x/sys/unix"

// spreads: sockets bound to one address share its connections (setsockopt(2),
// SO_REUSEPORT_LB).
const spreads = true

func spread(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT_LB, 1)
}
