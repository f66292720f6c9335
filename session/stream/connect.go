package stream

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// This file owns how a connection is made without waiting.

// Connect is Open of a socket that it begins to connect to an address. What becomes of that
// Connected tells.
func (t *Stream) Connect(p loop.Poller, fd int, to unix.Sockaddr, owner loop.Owner) error {
	// It is watched from then on: one that nobody has connected would seem to be at its end.
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		unix.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	return t.take(p, fd, owner, 0)
}

// Connected tells whether the connection is made that Connect has begun, and from which
// address of ours. The error is ErrAgain while it is not, net.ErrClosed, or why it could not
// be made, the system's.
func (t *Stream) Connected(to netip.AddrPort) (from netip.AddrPort, err error) {
	if !t.has(loop.Writable) {
		return from, ErrAgain
	}
	err = t.With(func(fd int) error {
		t.news.And(^uint32(loop.Writable))
		switch err := sysConnected(fd, to); err {
		case nil:
			t.news.Or(uint32(loop.Writable))
			return nil
		case ErrAgain: // the news was of a socket that had this number before
			t.poller.Await(fd, loop.Writable)
			return err
		default:
			return os.NewSyscallError("connect", err)
		}
	})
	if err != nil {
		return from, err
	}
	if from = t.Local(); from == to {
		// TCP connects a socket to itself where nobody listens at the port that it got.
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return from, err
}
