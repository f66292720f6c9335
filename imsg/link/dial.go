// The operator's way in: the control sockets, from outside the family. This file
// owns how they are reached, and what may be wrong with them, in words for people.

package link

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// ErrAbsent is that there is no daemon behind a control socket.
var ErrAbsent = errors.New("smtp-gated is not running")

// dialTime is how long a place in a control socket's queue is waited for: a family that is
// stopped empties it never.
const dialTime = 5 * time.Second

// ErrClosed is that its sockets let others in.
var ErrClosed = errors.New("no permission")

// Dial connects to the first of some control sockets that lets its caller in, who must
// Serve.
func Dial(paths ...string) (*Conn, error) {
	var closed []string
	for _, path := range paths {
		c, err := dial(path, dialTime)
		switch {
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			closed = append(closed, path)
		case err == nil || closed == nil:
			return c, err
		}
	}
	return nil, fmt.Errorf("%w to use %s: be root, or in the group of the control socket; in that of the read socket, for the units read_group = \"smtp-gated-status\" in [control], it is enough to look", ErrClosed, strings.Join(closed, " or "))
}

func dial(path string, wait time.Duration) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	switch err = connect(fd, path, time.Now().Add(wait)); err {
	case nil:
		return NewConn(f, imsg.Control, imsg.Lockd)
	case unix.ENOENT, unix.ECONNREFUSED:
		err = fmt.Errorf("%w, or was stopped and ends with its last session: nobody listens at %s", ErrAbsent, path)
	case unix.EAGAIN:
		err = fmt.Errorf("smtp-gated does not answer: for %s nobody was let in at %s", wait, path)
	case unix.EPROTOTYPE:
		err = fmt.Errorf("%s is no control socket of smtp-gated", path)
	default:
		err = fmt.Errorf("connect to %s: %w", path, err)
	}
	f.Close()
	return nil, err
}

// connect waits for a place in the listener's queue, and returns EAGAIN if there is none in
// time. A BSD does not wait.
func connect(fd int, path string, until time.Time) error {
	for {
		left := time.Until(until)
		if left < time.Millisecond { // 0 would be for ever
			return unix.EAGAIN
		}
		limit := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
			return err
		}
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
