// The control socket: made here, because it lies outside every room's root, and
// served by lockd. This file owns its name in the file system.

package socket

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// controlBacklog is how many operators may wait.
const controlBacklog = 16

// Control is the listening socket with its name.
type Control struct {
	File *os.File

	path string // empty once removed
	gid  int
	mode fs.FileMode
}

// OpenControl makes the socket, a SOCK_SEQPACKET one, with a group, unless that is
// negative, and a mode. One that another daemon serves is an error, one that nobody
// does is replaced.
func OpenControl(path string, gid int, mode fs.FileMode) (*Control, error) {
	f, err := bindControl(path)
	if err != nil {
		return nil, err
	}
	if gid >= 0 {
		err = os.Lchown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	return &Control{f, path, gid, mode}, nil
}

// Mend makes the socket anew if it was shut down for all who hold it (shutdown(2)):
// unlike a TCP socket it does not listen again. It tells whether that was so. Whom it
// finds at the other end it leaves at once.
func (c *Control) Mend() (mended bool, err error) {
	if c.path == "" || !errors.Is(probeControl(c.path), unix.ECONNREFUSED) {
		return false, nil
	}
	again, err := OpenControl(c.path, c.gid, c.mode)
	if err != nil {
		return false, err
	}
	c.File.Close()
	*c = *again
	return true, nil
}

// Remove takes the socket's name away; who serves it goes on to serve those who are
// connected. It may be called twice, and of nil.
func (c *Control) Remove() {
	if c != nil && c.path != "" {
		os.Remove(c.path)
		c.path = ""
	}
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
		err = unix.Listen(fd, controlBacklog)
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
	if !errors.Is(probeControl(path), unix.ECONNREFUSED) {
		return errors.New("another daemon listens there")
	}
	return os.Remove(path)
}

// probeControl tries to connect; ECONNREFUSED is that nobody listens.
func probeControl(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}
