// Reaching a server: under which address, and over whose socket. This file owns
// the way to a connection; what is said over it stands in conn.go.

package session

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// dial connects to the server within timeout_connect.
func (s *session) dial() (*net.TCPConn, error) {
	cfg := s.w.cfg
	from := source(cfg, s.src, s.dst)
	ctx, done := s.limited(cfg.TimeoutConnect)
	defer done()
	if !cfg.Marked && !inTheirName(cfg.Mode, s.src.Addr()) {
		return dialPlain(ctx, from.Addr(), s.dst)
	}
	conn, err := s.w.dialPrepared(ctx, from, s.dst)
	if from.Port() != 0 && portTaken(err) {
		s.info("the client's port is taken, another one is used", "src", s.src, "dst", s.dst)
		conn, err = s.w.dialPrepared(ctx, netip.AddrPortFrom(from.Addr(), 0), s.dst)
	}
	if portTaken(err) {
		s.log().Warn("no port is left for a connection", "from", from.Addr(), "dst", s.dst)
	}
	return conn, err
}

// inTheirName tells whether servers see the address of a client.
func inTheirName(m imsg.Mode, client netip.Addr) bool {
	return m == imsg.ModeTproxy || m == imsg.ModeTproxyNetfilter && !private(client)
}

// private addresses take the netfilter way of mode tproxy,netfilter: those of RFC
// 1918, RFC 3927, RFC 4193, and IPv6 link-local ones.
func private(a netip.Addr) bool { return a.IsPrivate() || a.IsLinkLocalUnicast() }

// source is what a connection is bound to: its address is invalid, or its port 0,
// where the system decides.
func source(cfg *imsg.SessionConfig, client, server netip.AddrPort) netip.AddrPort {
	if inTheirName(cfg.Mode, client.Addr()) {
		if cfg.KeepPort {
			return client
		}
		return netip.AddrPortFrom(client.Addr(), 0)
	}
	for _, out := range cfg.Outgoing {
		if !out.IsUnspecified() && out.Is6() == server.Addr().Is6() {
			return netip.AddrPortFrom(out, 0)
		}
	}
	return netip.AddrPort{}
}

// portTaken: the four numbers of a connection are in use, or the port may not be
// ours.
func portTaken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EACCES)
}

func dialPlain(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{KeepAlive: -1}
	network := "tcp4"
	if to.Addr().Is6() {
		network = "tcp6"
	}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// dialPrepared connects one of the parent's sockets.
func (w *worker) dialPrepared(ctx context.Context, from, to netip.AddrPort) (*net.TCPConn, error) {
	f, err := w.stock(to.Addr().Is6()).take(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := connect(ctx, f, from, to); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		conn.Close()
		return nil, imsg.Internal
	}
	tcp.SetKeepAlive(false)
	return tcp, nil
}

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
