package loop

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// events is what the kernel finds out (epoll(7)).
type events struct {
	fd   int
	list [batch]unix.EpollEvent
}

const (
	state  = unix.EPOLLIN | unix.EPOLLRDHUP
	always = state | unix.EPOLLET
)

func (e *events) open() (err error) {
	e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return os.NewSyscallError("epoll_create1", err)
}

func (e *events) add(fd int, as Watch) error {
	wanted := [...]uint32{Changes: always, Room: always | unix.EPOLLOUT, State: state}[as]
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: wanted, Fd: int32(fd)}))
}

// wantRoom has it be news when there is room to write.
func (e *events) wantRoom(fd int, as Watch) {
	wanted := uint32(always | unix.EPOLLOUT)
	if as == State {
		wanted = state | unix.EPOLLOUT
	}
	unix.EpollCtl(e.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: wanted, Fd: int32(fd)})
}

// hasRoom ends what wantRoom began, where State is watched.
func (e *events) hasRoom(fd int) {
	unix.EpollCtl(e.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: state, Fd: int32(fd)})
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
		n |= Readable | Writable | Ended
	}
	return int(ev.Fd), n
}
