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

	folder *os.File // that the name lies in; nil once removed
	name   string
	theirs bool // the name is another daemon's
	gid    int
	mode   fs.FileMode
}

// OpenControl makes the socket, a SOCK_SEQPACKET one, by its name in a folder, which it
// takes over, with a group, unless that is negative, and a mode. One that another daemon
// serves is an error, one that nobody does is replaced.
func OpenControl(folder *os.File, name string, gid int, mode fs.FileMode) (c *Control, err error) {
	c = &Control{folder: folder, name: name, gid: gid, mode: mode}
	if err := c.inFolder(func() error { c.File, err = c.bind(); return err }); err != nil {
		folder.Close()
		return nil, err
	}
	return c, nil
}

// InheritControl takes over a socket that another daemon has made, as OpenControl would
// have. Its name is ours from Own on.
func InheritControl(f, folder *os.File, name string, gid int, mode fs.FileMode) *Control {
	return &Control{File: f, folder: folder, name: name, theirs: true, gid: gid, mode: mode}
}

// Own says that the socket's name is ours now.
func (c *Control) Own() { c.theirs = false }

// Yield leaves the socket to another daemon, which has it: when that ends nobody must
// seem to listen there.
func (c *Control) Yield() {
	c.theirs = true
	c.File.Close()
}

// Mend makes the socket anew if it was shut down for all who hold it (shutdown(2)):
// unlike a TCP socket it does not listen again. It tells whether that was so. Whom it
// finds at the other end it leaves at once.
func (c *Control) Mend() (mended bool, err error) {
	if c.folder == nil || c.theirs {
		return false, nil
	}
	err = c.inFolder(func() error {
		if !errors.Is(probeControl(c.name), unix.ECONNREFUSED) {
			return nil
		}
		again, err := c.bind()
		if err == nil {
			c.File.Close()
			c.File, mended = again, true
		}
		return err
	})
	return mended, err
}

// Remove takes the socket's name away; who serves it goes on to serve those who are
// connected. It may be called twice, and of nil.
func (c *Control) Remove() {
	if c != nil && c.folder != nil && !c.theirs {
		unix.Unlinkat(int(c.folder.Fd()), c.name, 0)
		c.folder.Close()
		c.folder = nil
	}
}

// inFolder does something with the folder as our working directory: bind(2) and
// connect(2) know no other way to a folder that is open. Nobody else may need ours
// meanwhile.
func (c *Control) inFolder(do func() error) error {
	back, err := os.Open(".")
	if err != nil {
		return err
	}
	defer back.Close()
	if err := unix.Fchdir(int(c.folder.Fd())); err != nil {
		return err
	}
	return errors.Join(do(), back.Chdir())
}

func (c *Control) bind() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "control socket")
	// With its mode from the first moment on; nobody comes in before it listens.
	old := unix.Umask(int(^c.mode & fs.ModePerm))
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: c.name})
	if errors.Is(err, unix.EADDRINUSE) {
		if err = removeStale(c.name); err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: c.name})
		}
	}
	unix.Umask(old)
	if err != nil {
		f.Close()
		return nil, err
	}
	if c.gid >= 0 {
		err = os.Lchown(c.name, -1, c.gid)
	}
	if err == nil {
		err = unix.Listen(fd, controlBacklog)
	}
	if err != nil {
		f.Close()
		os.Remove(c.name)
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
