package stream

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sockets never block, so the scheduler need not be told of these calls.

func sysRead(fd uintptr, p []byte) (int, error) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

func sysWrite(fd uintptr, p []byte) (int, error) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// sysConnected tells whether a connection is made that was begun: connect(2) says so to who
// asks again. The error is ErrAgain while it is not.
func sysConnected(fd int, to netip.AddrPort) (err error) {
	if to.Addr().Is4() {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	} else {
		err = syscall.Connect(fd, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	}
	switch err {
	case syscall.EISCONN:
		return nil
	case syscall.EALREADY, syscall.EINPROGRESS, syscall.EINTR:
		return ErrAgain
	}
	return err
}

// sysClosed asks for the state of a connection: it shows behind what is unread, too.
// One that cannot be asked for is not taken for closed.
func sysClosed(fd int) (half, whole bool) {
	const closed, closeWait = 7, 8 // TCP_CLOSE, TCP_CLOSE_WAIT of linux/tcp_states.h
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == closeWait, err == nil && info.State == closed
}
