// The listeners: TCP addresses the session workers share, each of one address
// family. This file owns opening them; it never accepts.

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

// listener is one listening address. Where the kernel spreads connections over
// several sockets of one address there is a door for each worker, so that a
// connection wakes one of them; elsewhere all of them stand at a single one. The
// parent keeps every door: one whose worker died is served by another.
type listener struct {
	doors   []*os.File
	open    int // how many of the doors, from the first, may be connected to
	bound   netip.AddrPort
	name    string // as systemd named it
	given   bool   // by systemd: the configuration's addresses do not matter
	foreign bool   // takes connections that are not for our addresses
}

// reserve makes a listener with a door for each of a number of workers. It listens
// from serve on: who waits at a door needs somebody behind it.
func reserve(a netip.AddrPort, workers int, foreign bool) (*listener, error) {
	l := &listener{bound: a, foreign: foreign}
	err := l.probe()
	if err == nil {
		err = l.widen(workers)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// widen makes doors until there is one for each worker. There are never fewer
// than before: one that closed would turn away who waits at it.
func (l *listener) widen(workers int) error {
	if !spreads {
		workers = 1
	}
	for len(l.doors) < workers {
		f, err := bindTo(l.bound, spreads, l.foreign)
		if err == nil {
			l.doors = append(l.doors, f)
			err = using(f, func(fd int) (err error) { l.bound, err = boundTo(fd); return err })
		}
		if err != nil {
			return l.complain(err)
		}
	}
	return nil
}

// probe finds out whether somebody else listens: a shared address is no longer
// refused by the kernel alone.
func (l *listener) probe() error {
	if !spreads || l.bound.Port() == 0 {
		return nil
	}
	f, err := bindTo(l.bound, false, l.foreign)
	if err != nil {
		return l.complain(err)
	}
	return f.Close()
}

func (l *listener) complain(err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("listen on %s: the address is in use by another program", l.bound)
	}
	return fmt.Errorf("listen on %s: %w", l.bound, err)
}

func (l *listener) close() {
	for _, f := range l.doors {
		f.Close()
	}
}

// doorsOf returns the doors of one of several workers, out of the first n.
func (l *listener) doorsOf(place, workers, n int) (doors []*os.File) {
	if len(l.doors) == 1 {
		return l.doors
	}
	for i, f := range l.doors[:n] {
		if i%workers == place {
			doors = append(doors, f)
		}
	}
	return doors
}

// bindTo makes a socket by hand because package net would open an MPTCP one,
// whose connections do not tell where they were meant to go.
func bindTo(a netip.AddrPort, shared, foreign bool) (*os.File, error) {
	fd, err := unix.Socket(family(a.Addr().Is6()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener "+a.String())
	if err := prepare(fd, a, shared, foreign); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// using does something with an open socket.
func using(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var derr error
	if err := raw.Control(func(fd uintptr) { derr = do(int(fd)) }); err != nil {
		return err
	}
	return derr
}

func prepare(fd int, a netip.AddrPort, shared, foreign bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if shared {
		if err := spread(fd); err != nil {
			return err
		}
	}
	if foreign {
		if err := beForeign(fd, a.Addr().Is6()); err != nil {
			return fmt.Errorf("take connections for others%s", remedy(err))
		}
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
	return unix.Bind(fd, to)
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

// welcomeForeign has a listener that is open already take connections that are
// not for our addresses. It is not taken back: where no rule brings any, none come.
func (l *listener) welcomeForeign() error {
	for _, f := range l.doors {
		if err := using(f, func(fd int) error { return beForeign(fd, l.bound.Addr().Is6()) }); err != nil {
			return fmt.Errorf("listener %s: take connections for others%s", l.bound, remedy(err))
		}
	}
	l.foreign = true
	return nil
}

// serve opens the doors and says how many connections may wait, as connect_queue
// has it now.
func (l *listener) serve(queue int) error {
	for _, f := range l.doors {
		if err := using(f, func(fd int) error { return unix.Listen(fd, queue) }); err != nil {
			return l.complain(err)
		}
	}
	l.open = len(l.doors)
	return nil
}

// givenListeners takes over the sockets of systemd's socket activation
// (sd_listen_fds(3)). None is the usual case. go-systemd has a package for it, which
// brings crypto/tls into every room.
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
		all = append(all, &listener{doors: []*os.File{os.NewFile(uintptr(fd), "listener "+name)}, open: 1, bound: bound, name: name, given: true})
	}
	return all, nil
}
