// The operator's way in: the control socket, from outside the family. This file
// owns how it is reached, and what may be wrong with it, in words for people.

package link

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Dial connects to the control socket at path. Its caller must Serve.
func Dial(path string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	switch err = connect(fd, path); err {
	case nil:
		return NewConn(f, imsg.Control, imsg.Lockd)
	case unix.ENOENT, unix.ECONNREFUSED:
		err = fmt.Errorf("smtp-gated is not running: nobody listens at %s", path)
	case unix.EACCES, unix.EPERM:
		err = fmt.Errorf("no permission to use %s: be root, or in the group that control_group names", path)
	case unix.EPROTOTYPE:
		err = fmt.Errorf("%s is no control socket of smtp-gated", path)
	default:
		err = fmt.Errorf("connect to %s: %w", path, err)
	}
	f.Close()
	return nil, err
}

// connect waits for a place in the listener's queue.
func connect(fd int, path string) error {
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		switch err {
		case unix.EINTR:
		case unix.EISCONN: // an interrupted one went through
			return nil
		default:
			return err
		}
	}
}
