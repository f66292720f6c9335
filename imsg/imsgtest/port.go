package imsgtest

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Port returns an address of the loopback for a program that has to be told one.
// Its port is the test's until the test ends: a socket is bound to it that never
// listens. On Linux the kernel then gives the port to nobody who asks for any, and
// still to a listener that names it and sets SO_REUSEADDR, as servers do.
// Elsewhere such a socket would be in the way, and the port is one that was free a
// moment ago.
func Port(t testing.TB) netip.AddrPort {
	t.Helper()
	syscall.ForkLock.RLock() // no program that is being started gets it
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		t.Cleanup(func() { unix.Close(fd) })
	} else {
		defer unix.Close(fd)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := sa.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
}
