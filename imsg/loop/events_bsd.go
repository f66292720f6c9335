//go:build freebsd || openbsd

package loop

import (
	"os"

	"golang.org/x/sys/unix"
)

// events is what the kernel finds out (kqueue(2)).
type events struct {
	fd   int
	list [batch]unix.Kevent_t
}

func (e *events) open() (err error) {
	e.fd, err = unix.Kqueue()
	unix.CloseOnExec(e.fd)
	return os.NewSyscallError("kqueue", err)
}

func (e *events) change(fd, filter, flags int) error {
	var k [1]unix.Kevent_t
	unix.SetKevent(&k[0], fd, filter, unix.EV_ADD|flags)
	_, err := unix.Kevent(e.fd, k[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

func (e *events) add(fd int, as Watch) error {
	if as == State {
		return e.change(fd, unix.EVFILT_READ, 0)
	}
	err := e.change(fd, unix.EVFILT_READ, unix.EV_CLEAR)
	if err == nil && as == Room {
		err = e.change(fd, unix.EVFILT_WRITE, unix.EV_CLEAR)
	}
	return err
}

// wantRoom has it be news when there is room to write.
func (e *events) wantRoom(fd int, _ Watch) { e.change(fd, unix.EVFILT_WRITE, unix.EV_CLEAR) }

// hasRoom does nothing: room to write is a filter of its own, which tells changes.
func (e *events) hasRoom(int) {}

// forget does nothing: the news of a descriptor ends when it is closed.
func (e *events) forget(int) {}

// wait returns how many there are.
func (e *events) wait(block bool) int {
	var timeout *unix.Timespec
	if !block {
		timeout = new(unix.Timespec)
	}
	n, err := unix.Kevent(e.fd, nil, e.list[:], timeout)
	if err != nil && err != unix.EINTR {
		panic(os.NewSyscallError("kevent", err)) // nothing could go on
	}
	return max(n, 0)
}

func (e *events) at(i int) (fd int, n News) {
	k := &e.list[i]
	n = Readable
	if k.Filter == unix.EVFILT_WRITE {
		n = Writable
	}
	if k.Flags&unix.EV_EOF != 0 {
		n |= Readable | Writable | Ended
	}
	return int(k.Ident), n
}
