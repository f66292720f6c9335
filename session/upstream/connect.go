// Binding and connecting a socket that was made elsewhere. This file owns how the
// kernel's answer is waited for.

package upstream

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// connect binds and connects a socket that does not block.
func connect(ctx context.Context, f *os.File, from, to netip.AddrPort) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })()
	if from.Addr().IsValid() {
		if cerr := raw.Control(func(fd uintptr) { err = unix.Bind(int(fd), sockaddr(from)) }); cerr != nil {
			return cerr
		}
		if err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	begun := false
	werr := raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			err = unix.Connect(int(fd), sockaddr(to))
			return err != unix.EINPROGRESS && err != unix.EINTR
		}
		var errno int
		if errno, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
			return true
		}
		if errno != 0 {
			err = unix.Errno(errno)
			return true
		}
		// A socket nobody has connected yet counts as writable: this may be
		// the news of then.
		_, err = unix.Getpeername(int(fd))
		return err != unix.ENOTCONN
	})
	if werr != nil {
		return werr
	}
	return os.NewSyscallError("connect", err)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zoneID(a.Addr().Zone())}
}

// zoneID is the number of an interface, 0 for none.
func zoneID(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}
