package heir

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// asSibling has a command become a child of our own parent (clone(2), CLONE_PARENT), and
// returns what waits for its end.
func asSibling(cmd *exec.Cmd) (wait func() error) {
	fd := -1
	cmd.SysProcAttr.Cloneflags = unix.CLONE_PARENT
	cmd.SysProcAttr.PidFD = &fd
	return func() error {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				return err
			}
		}
	}
}
