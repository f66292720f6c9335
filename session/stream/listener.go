package stream

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// Listener is a listening socket that other processes may have, too: who accepts first has
// a connection.
type Listener struct {
	poller loop.Poller
	owner  loop.Owner

	mu   sync.Mutex
	fd   int
	open bool
}

// Listen takes a duplicate of a listening socket. Owner is told that somebody may wait at
// it. The errors are the system's, or that it is no socket of TCP.
func Listen(p loop.Poller, f *os.File, owner loop.Owner) (*Listener, error) {
	fd := -1
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Fd would have it block.
	if cerr := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := takeListener(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	l := &Listener{poller: p, owner: owner, fd: fd, open: true}
	if err := p.Add(fd, l, loop.Changes); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return l, nil
}

// errNotTCP is what Listen returns of another socket.
var errNotTCP = errors.New("it is no socket of TCP")

func takeListener(fd int) error {
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if !addrPort(sa).IsValid() {
		return errNotTCP
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)) // does nothing to one that is
}

// Happened is called by the poller.
func (l *Listener) Happened(turn *loop.Turn, _ loop.News) { l.owner.News(turn) }

// Accept returns a connection, which does not block, and who has made it. The error is
// ErrAgain if nobody waits, net.ErrClosed, or the system's.
func (l *Listener) Accept() (fd int, from netip.AddrPort, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return -1, from, net.ErrClosed
	}
	for {
		var sa syscall.Sockaddr
		// It does not block from the start: a room may not change its mode later.
		switch fd, sa, err = syscall.Accept4(l.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC); err {
		case nil:
			// Those that waited before we listened have nothing of the listener.
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			return fd, addrPort(sa), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			l.poller.Await(l.fd, loop.Readable)
			return -1, from, ErrAgain
		default:
			return -1, from, os.NewSyscallError("accept", err)
		}
	}
}

// Close closes our end of it.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open {
		l.open = false
		l.poller.Remove(l.fd, true)
		unix.Close(l.fd)
	}
}
