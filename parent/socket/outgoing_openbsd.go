package socket

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setTransparent lets a socket have an address that is not ours (getsockopt(2),
// SO_BINDANY). Answers come back to it by a rule with divert-reply.
func setTransparent(fd int, _ bool) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDANY, 1)
}

func setMark(int, uint32) error { return errors.New("OpenBSD has no marks on sockets") }

// bindLate does nothing: the port is chosen at bind.
func bindLate(int) error { return nil }
