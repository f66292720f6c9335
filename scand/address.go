// Where a scanner listens, and one question to it: connect, send, read the answer.
// What is sent and what an answer means belongs to the engines.

package scand

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds an answer; a longer one is no answer.
const maxAnswer = 8 << 10

// address is where a scanner listens, a UNIX socket or else a TCP port, and its name
// for people.
type address struct {
	socket string
	port   netip.AddrPort
	name   string
}

// newAddress takes a UNIX socket's name relative to the room's root and its name
// in the administrator's tree, or an address.
func newAddress(socket, name string, addr netip.AddrPort) (address, error) {
	switch {
	case socket != "" && addr.IsValid():
		return address{}, errors.New("both a socket and an address are given")
	case socket != "":
		return address{socket: socket, name: cmp.Or(name, socket)}, nil
	case !addr.IsValid():
		return address{}, errors.New("neither a socket nor an address is given")
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	return address{port: addr, name: addr.String()}, nil
}

func (a address) unix() bool { return a.socket != "" }

// dial connects to the scanner. The connection is attached to ctx.
func (a address) dial(ctx context.Context) (*conn, error) {
	c, err := a.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.name, err)
	}
	return c, nil
}

func (a address) open(ctx context.Context) (*conn, error) {
	family, to := a.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &conn{fd: fd}
	c.attach(ctx)
	if !a.unix() {
		setTCP(fd)
	}
	if err := c.connect(to); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (a address) sockaddr() (family int, to unix.Sockaddr) {
	ip, port := a.port.Addr(), int(a.port.Port())
	switch {
	case a.unix():
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: a.socket}
	case ip.Is4():
		return unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: ip.As16(), ZoneId: zoneID(ip.Zone())}
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

// setTCP sends what is written at once, and notices a host that is no more.
func setTCP(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	for _, option := range probing {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, probeEvery)
	}
}

// probeEvery is how many seconds pass between questions whether a host is still there.
const probeEvery = 15

// ask asks one question over a connection of its own: see conn.ask.
func (a address) ask(ctx context.Context, end int, send func(*conn) error) (answer []byte, sendErr error, err error) {
	c, err := a.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	return c.ask(end, send)
}

func readAnswer(r io.Reader, end int) ([]byte, error) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxAnswer+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxAnswer:
			return nil, fmt.Errorf("longer than %d octets", maxAnswer)
		case end >= 0 && bytes.IndexByte(buf[len(buf)-n:], byte(end)) >= 0, err == io.EOF:
			return buf, nil
		case len(buf) > 0 && errors.Is(err, syscall.ECONNRESET):
			// A scanner that refuses the rest of a message closes with that unread.
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// rootGone tells whether the directory we live in has been removed, as a scanner's
// restart may do. The sockets of the new one are out of our reach then.
func rootGone() bool {
	info, err := os.Stat(".")
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
