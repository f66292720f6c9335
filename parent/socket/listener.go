// Package socket opens what takes a privilege or must outlive a room: the listeners,
// the operators' socket, and the sockets sessions reach servers with. It never
// accepts, reads or connects, and knows no configuration but by what it is told.
//
// This file owns the listeners: TCP addresses the session workers share, each of one
// address family.
package socket

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is one listening address. Where the kernel spreads connections over
// several sockets of one address there is one for each worker, so that a connection
// wakes one of them; elsewhere all of them accept on a single one. The parent keeps
// every socket: one whose worker died is served by another.
type Listener struct {
	Addr netip.AddrPort // as it was bound
	Name string         // as systemd named it, or as Wanted
	From netip.AddrPort // the address in the configuration, invalid: systemd gave it

	sockets     []*os.File
	open        int  // how many of the sockets, from the first, may be connected to
	backlog     int  // of those
	given       bool // by systemd
	transparent bool // takes connections that are not for our addresses
}

// reserve makes a listener with a socket for each of a number of workers, if nobody
// else listens there. It listens from Serve on: who waits at a socket needs somebody
// behind it. A transparent one takes connections that are not for our addresses,
// which may need privilege.
func reserve(a netip.AddrPort, workers int, transparent bool) (*Listener, error) {
	l := &Listener{Addr: a, transparent: transparent}
	err := l.probe()
	if err == nil {
		err = l.grow(workers)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// grow makes sockets until there is one for each worker. There are never fewer than
// before: one that closed would turn away who waits at it.
func (l *Listener) grow(workers int) error {
	if !spreads {
		workers = 1
	}
	for len(l.sockets) < workers {
		f, err := bindTo(l.Addr, spreads, l.transparent)
		if err == nil {
			l.sockets = append(l.sockets, f)
			err = using(f, func(fd int) (err error) { l.Addr, err = boundTo(fd); return err })
		}
		if err != nil {
			return l.complain(err)
		}
	}
	return nil
}

// probe finds out whether somebody else listens: a shared address is no longer
// refused by the kernel alone.
func (l *Listener) probe() error {
	if !spreads || l.Addr.Port() == 0 {
		return nil
	}
	f, err := bindTo(l.Addr, false, l.transparent)
	if err != nil {
		return l.complain(err)
	}
	return f.Close()
}

func (l *Listener) complain(err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("listen on %s: the address is in use by another program", l.Addr)
	}
	return fmt.Errorf("listen on %s: %w", l.Addr, err)
}

func (l *Listener) close() {
	for _, f := range l.sockets {
		f.Close()
	}
}

// Single tells whether all workers accept on the same socket.
func (l *Listener) Single() bool { return len(l.sockets) == 1 }

// Share returns the sockets of one of several workers: of all there are, or of those
// that Serve has opened. They stay the listener's.
func (l *Listener) Share(index, workers int, all bool) (share []*os.File) {
	if l.Single() {
		return l.sockets
	}
	for i, f := range l.sockets {
		if i%workers == index && (all || i < l.open) {
			share = append(share, f)
		}
	}
	return share
}

// bindTo makes a socket by hand because package net would open an MPTCP one,
// whose connections do not tell where they were meant to go.
func bindTo(a netip.AddrPort, shared, transparent bool) (*os.File, error) {
	fd, err := unix.Socket(family(a.Addr().Is6()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, err
	}
	f, err := unwatched(fd, "listener "+a.String())
	if err != nil {
		return nil, err
	}
	if err := using(f, func(fd int) error { return prepare(fd, a, shared, transparent) }); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unwatched makes a file of a socket, which does not block from then on. The runtime would
// watch it, and wake us for each client: so it takes the place of one that does block, and
// is not watched.
func unwatched(fd int, name string) (*os.File, error) {
	defer unix.Close(fd)
	place, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(place), name)
	syscall.ForkLock.RLock() // nobody is started who would have it
	err = unix.Dup2(fd, place)
	unix.CloseOnExec(place)
	syscall.ForkLock.RUnlock()
	if err = errors.Join(err, unix.SetNonblock(place, true)); err != nil {
		f.Close()
		return nil, os.NewSyscallError("dup2", err)
	}
	return f, nil
}

// unwatch is unwatched of a file, in whose place it comes.
func unwatch(f *os.File) (*os.File, error) {
	fd := -1
	err := using(f, func(n int) (err error) {
		fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unwatched(fd, f.Name())
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

func prepare(fd int, a netip.AddrPort, shared, transparent bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if shared {
		if err := spread(fd); err != nil {
			return err
		}
	}
	if transparent {
		if err := setTransparent(fd, a.Addr().Is6()); err != nil {
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

// setTransparent has a listener take connections that are not for our addresses. It is
// not taken back: where no rule brings any, none come.
func (l *Listener) setTransparent() error {
	if l.transparent {
		return nil
	}
	for _, f := range l.sockets {
		if err := using(f, func(fd int) error { return setTransparent(fd, l.Addr.Addr().Is6()) }); err != nil {
			return fmt.Errorf("listener %s: take connections for others%s", l.Addr, remedy(err))
		}
	}
	l.transparent = true
	return nil
}

// Serve opens the sockets, and sets how many connections may wait at each. Those that
// systemd gave are open.
func (l *Listener) Serve(backlog int) error {
	l.backlog = backlog
	for _, f := range l.sockets {
		if err := listen(f, backlog); err != nil && !l.given {
			return l.complain(err)
		}
	}
	l.open = len(l.sockets)
	return nil
}

// leastBacklog is how many may wait at least: a worker accepts between other things, and who
// finds no room comes again a second later.
const leastBacklog = 128

func listen(f *os.File, backlog int) error {
	return using(f, func(fd int) error { return unix.Listen(fd, max(backlog, leastBacklog)) })
}

// Bindable tells why nobody could listen at an address now, as reserve would: somebody else
// does, or the address is none of this machine. Nothing listens there for it.
func Bindable(a netip.AddrPort) error {
	f, err := bindTo(a, false, false)
	if err != nil {
		return err
	}
	return f.Close()
}
