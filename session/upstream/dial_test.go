//go:build linux

package upstream

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// newDialer lets a dialer have plain sockets for prepared ones.
func newDialer(t *testing.T) (d *Dialer) {
	d = NewDialer(func(ipv6 bool, n int) error {
		family := unix.AF_INET
		if ipv6 {
			family = unix.AF_INET6
		}
		go func() {
			for range n {
				fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				d.Add(ipv6, os.NewFile(uintptr(fd), "socket"))
			}
		}()
		return nil
	})
	return d
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// connect connects by the runtime's means, within a time.
func connect(conn *net.Conn, within time.Duration) Connect {
	return func(fd int, to unix.Sockaddr) error {
		err := unix.Connect(fd, to)
		if err == unix.EINPROGRESS {
			err = established(fd, within)
		}
		f := os.NewFile(uintptr(fd), "connection")
		defer f.Close()
		if err != nil {
			return os.NewSyscallError("connect", err)
		}
		*conn, err = net.FileConn(f)
		return err
	}
}

// established waits until a socket is connected.
func established(fd int, within time.Duration) error {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(list, int(within/time.Millisecond)); n == 0 {
		return errors.Join(err, os.ErrDeadlineExceeded)
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

// prepared is dialPrepared with what connects.
func prepared(t *testing.T, d *Dialer, within time.Duration, from, to netip.AddrPort) (conn net.Conn, err error) {
	err = d.dialPrepared(soon(t, within), from, to, connect(&conn, within))
	return conn, err
}

func TestDialPrepared(t *testing.T) {
	d := newDialer(t)
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Log(err)
			continue
		}
		to := addrPort(l.Addr())
		for _, from := range []netip.AddrPort{{}, netip.AddrPortFrom(to.Addr(), 0)} {
			c, err := prepared(t, d, imsgtest.Patience, from, to)
			if err != nil {
				t.Fatal(err)
			}
			other, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if addrPort(c.LocalAddr()) != addrPort(other.RemoteAddr()) || addrPort(c.RemoteAddr()) != to {
				t.Errorf("%s to %s", c.LocalAddr(), c.RemoteAddr())
			}
			// A port that is taken.
			if _, err := prepared(t, d, imsgtest.Patience, addrPort(c.LocalAddr()), to); !portTaken(err) {
				t.Errorf("a taken port: %v", err)
			}
			other.Close()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read %d, %v", n, err)
			}
			c.Close()
		}
		l.Close()
		if _, err := prepared(t, d, imsgtest.Patience, netip.AddrPort{}, to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
	}
}

// A client keeps its port where that is free.
func TestDialTakenPort(t *testing.T) {
	d := newDialer(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	from := addrPort(client.LocalAddr())
	cfg := &imsg.SessionConfig{Mode: imsg.ModeTproxy, KeepPort: true}
	var taken []netip.AddrPort
	var conn net.Conn
	err = d.Dial(soon(t, imsgtest.Patience), cfg, from, addrPort(l.Addr()), connect(&conn, imsgtest.Patience), func(a netip.AddrPort) { taken = append(taken, a) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := addrPort(conn.LocalAddr()); got.Addr() != from.Addr() || !slices.Equal(taken, []netip.AddrPort{from}) {
		t.Errorf("from %s, taken %v", got, taken)
	}
}

// TestDialPatience: a server that does not answer costs timeout_connect.
func TestDialPatience(t *testing.T) {
	d := newDialer(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 10 { // its queue is soon full
		var c net.Conn
		if c, err = prepared(t, d, 200*time.Millisecond, netip.AddrPort{}, to); err != nil {
			break
		}
		defer c.Close()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestNoSocket(t *testing.T) {
	d := NewDialer(func(bool, int) error { return nil })
	if _, err := prepared(t, d, 20*time.Millisecond, netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:25")); err != imsg.Resource {
		t.Errorf("error %v", err)
	}
}
