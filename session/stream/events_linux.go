package stream

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// events is what the kernel finds out (epoll(7), edge-triggered).
type events struct {
	fd   int
	list [batch]unix.EpollEvent
}

const always = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

func (e *events) open() (err error) {
	e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return os.NewSyscallError("epoll_create1", err)
}

func (e *events) add(fd int, room bool) error {
	wanted := uint32(always)
	if room {
		wanted |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: wanted, Fd: int32(fd)}))
}

// wantRoom has it be news when there is room to write.
func (e *events) wantRoom(fd int) {
	unix.EpollCtl(e.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: always | unix.EPOLLOUT, Fd: int32(fd)})
}

// forget ends the news of what lives on when we close it.
func (e *events) forget(fd int) { unix.EpollCtl(e.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// wait returns how many there are.
func (e *events) wait(block bool) int {
	timeout := 0
	if block {
		timeout = -1
	}
	n, err := unix.EpollWait(e.fd, e.list[:], timeout)
	if err != nil && err != syscall.EINTR {
		panic(os.NewSyscallError("epoll_wait", err)) // nothing could go on
	}
	return max(n, 0)
}

func (e *events) at(i int) (fd int, n News) {
	ev := &e.list[i]
	if ev.Events&unix.EPOLLIN != 0 {
		n |= Readable
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		n |= Writable
	}
	if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		n |= Readable | Writable | ended
	}
	return int(ev.Fd), n
}
