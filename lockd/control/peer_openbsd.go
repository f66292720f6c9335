package control

import (
	"os"

	"golang.org/x/sys/unix"
)

// peerUID is the user that connected a UNIX socket (getsockopt(2), SO_PEERCRED). It
// comes first in struct sockpeercred, and a shorter value is cut off there.
func peerUID(f *os.File) (uid int, err error) {
	err = askSocket(f, func(fd int) error {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		uid = int(uint32(n))
		return err
	})
	return uid, err
}
