package socket

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setTransparent lets a socket have an address that is not ours (ip(4), IP_BINDANY;
// ip6(4), IPV6_BINDANY). Answers come back to it by an ipfw fwd rule.
func setTransparent(fd int, six bool) error {
	if six {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_BINDANY, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BINDANY, 1)
}

func setMark(int, uint32) error { return errors.New("FreeBSD has no marks on sockets") }

// bindLate does nothing: the port is chosen at bind.
func bindLate(int) error { return nil }
