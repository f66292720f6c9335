package control

import (
	"os"

	"golang.org/x/sys/unix"
)

// peerUID is the user that connected a UNIX socket (unix(4), LOCAL_PEERCRED).
func peerUID(f *os.File) (uid int, err error) {
	err = askSocket(f, func(fd int) error {
		c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err == nil {
			uid = int(c.Uid)
		}
		return err
	})
	return uid, err
}
