// The sockets sessions reach servers with when making one takes a privilege: it
// may bear its client's address, or has a firewall mark. This file owns making
// them. A session binds and connects what it gets; we never learn whereto.

package socket

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Outgoing is what a session cannot give a socket itself.
type Outgoing struct {
	Mode imsg.Mode
	Mark uint32 // SO_MARK, 0: none
}

// Needed tells whether sessions cannot make their sockets themselves.
func (o Outgoing) Needed() bool { return o.Mode.Transparent() || o.Mark != 0 }

// Make makes a socket. The error names the remedy.
func (o Outgoing) Make(ipv6 bool) (*os.File, error) {
	fd, err := unix.Socket(family(ipv6), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "socket for a session")
	if err := o.configure(fd, ipv6); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (o Outgoing) configure(fd int, ipv6 bool) error {
	if o.Mode.Transparent() {
		if err := setTransparent(fd, ipv6); err != nil {
			return fmt.Errorf("mode %s: a socket with a client's address%s", o.Mode, remedy(err))
		}
	}
	if o.Mark != 0 {
		if err := setMark(fd, o.Mark); err != nil {
			return fmt.Errorf("put the firewall mark on a socket%s", remedy(err))
		}
	}
	if err := bindLate(fd); err != nil {
		return fmt.Errorf("have a port chosen at connect: %w", err)
	}
	return nil
}

func remedy(err error) string {
	if errors.Is(err, unix.EPERM) {
		return ": not permitted: start as root, or with the capability CAP_NET_ADMIN"
	}
	return ": " + err.Error()
}

func family(six bool) int {
	if six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
