// The control socket: made here, because it lies outside every room's root, and
// served by lockd. This file owns its name in the file system.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

const controlQueue = 16

// controlSocket is the listening socket with its name.
type controlSocket struct {
	*os.File
	path string // empty once removed
}

// remove takes the socket's name away; lockd goes on to serve those who are connected.
func (c *controlSocket) remove() {
	if c != nil && c.path != "" {
		os.Remove(c.path)
		c.path = ""
	}
}

// openControl makes the socket. One that another daemon serves is an error, one
// that nobody does is replaced.
func openControl(c *config.Config) (*controlSocket, error) {
	path := c.Inside(c.Control())
	f, err := bindControl(path)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Called("control_socket"), path, err)
	}
	if err := permit(path, c); err != nil {
		f.Close()
		os.Remove(path)
		return nil, fmt.Errorf("%s %s: %w", c.Called("control_socket"), path, err)
	}
	return &controlSocket{f, path}, nil
}

func bindControl(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "control socket")
	// Nobody may come in before the mode is right.
	old := unix.Umask(0o177)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, unix.EADDRINUSE) {
		if err = removeStale(path); err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
	}
	unix.Umask(old)
	if err == nil {
		err = unix.Listen(fd, controlQueue)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeStale removes a socket nobody listens on, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is no socket has this name")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if !errors.Is(err, unix.ECONNREFUSED) {
		return errors.New("another daemon listens there")
	}
	return os.Remove(path)
}

func permit(path string, c *config.Config) error {
	if c.ControlGroup != "" {
		gid, err := host.FindGroup(c.ControlGroup)
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, fs.FileMode(c.ControlPerm))
}
