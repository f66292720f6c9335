// The listeners: TCP sockets every session worker shares, each of one address
// family. This file owns making them; it never accepts.

package parent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listener is one listening socket.
type listener struct {
	file  *os.File
	bound netip.AddrPort
	name  string // as systemd named it
	given bool   // by systemd: the configuration's addresses do not matter
}

// listen opens a listener. It is made by hand because package net would open
// an MPTCP socket, whose connections do not tell where they were meant to go.
func listen(a netip.AddrPort, queue int) (*listener, error) {
	l, err := openListener(a, queue)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: the address is in use by another program", a)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return l, nil
}

func openListener(a netip.AddrPort, queue int) (*listener, error) {
	family := unix.AF_INET
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, err
	}
	l := &listener{file: os.NewFile(uintptr(fd), "listener "+a.String())}
	if err := prepare(fd, a, queue); err != nil {
		l.file.Close()
		return nil, err
	}
	if l.bound, err = boundTo(fd); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

func prepare(fd int, a netip.AddrPort, queue int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	var to unix.Sockaddr
	if a.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
		zone, err := zoneID(a.Addr().Zone())
		if err != nil {
			return err
		}
		to = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zone}
	} else {
		to = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	if err := unix.Bind(fd, to); err != nil {
		return err
	}
	return unix.Listen(fd, queue)
}

func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", zone, err)
	}
	return uint32(i.Index), nil
}

func boundTo(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("not a TCP socket")
}

// requeue changes how many connections may wait, as connect_queue says now.
func (l *listener) requeue(queue int) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), queue) }); err != nil {
		return err
	}
	return lerr
}

// givenListeners takes over the sockets of systemd's socket activation
// (sd_listen_fds(3)). None is the usual case.
func givenListeners() ([]*listener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if pid != os.Getpid() {
		return nil, nil
	}
	var all []*listener
	for i := range n {
		fd := 3 + i
		name := "LISTEN_FD_" + strconv.Itoa(fd)
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		accepting, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || accepting == 0 {
			return nil, fmt.Errorf("socket %s given at start does not listen", name)
		}
		bound, err := boundTo(fd)
		if err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		all = append(all, &listener{file: os.NewFile(uintptr(fd), "listener "+name), bound: bound, name: name, given: true})
	}
	return all, nil
}
