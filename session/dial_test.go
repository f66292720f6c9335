//go:build linux

package session

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// someSockets lets a worker have plain sockets for prepared ones.
func someSockets(t *testing.T) *worker {
	w := new(worker)
	give := func(six bool, family int) func(n int) error {
		return func(n int) error {
			go func() {
				for range n {
					fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						t.Error(err)
						return
					}
					w.stock(six).put(os.NewFile(uintptr(fd), "socket"))
				}
			}()
			return nil
		}
	}
	w.stock4.ask, w.stock6.ask = give(false, unix.AF_INET), give(true, unix.AF_INET6)
	return w
}

func TestDialPrepared(t *testing.T) {
	w := someSockets(t)
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Log(err)
			continue
		}
		to := addrPort(l.Addr())
		for _, from := range []netip.AddrPort{{}, netip.AddrPortFrom(to.Addr(), 0)} {
			c, err := w.dialPrepared(soon(t, imsgtest.Patience), from, to)
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
			if _, err := w.dialPrepared(soon(t, imsgtest.Patience), addrPort(c.LocalAddr()), to); !portTaken(err) {
				t.Errorf("a taken port: %v", err)
			}
			other.Close()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read %d, %v", n, err)
			}
			c.Close()
		}
		l.Close()
		if _, err := w.dialPrepared(soon(t, imsgtest.Patience), netip.AddrPort{}, to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
	}
}

// TestDialPatience: a server that does not answer costs timeout_connect.
func TestDialPatience(t *testing.T) {
	w := someSockets(t)
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
		var c *net.TCPConn
		if c, err = w.dialPrepared(soon(t, 200*time.Millisecond), netip.AddrPort{}, to); err != nil {
			break
		}
		defer c.Close()
	}
	if !os.IsTimeout(err) {
		t.Errorf("error %v", err)
	}
}

func TestNoSocket(t *testing.T) {
	w := new(worker)
	w.stock4.ask = func(int) error { return nil }
	if _, err := w.dialPrepared(soon(t, 20*time.Millisecond), netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:25")); err != imsg.Resource {
		t.Errorf("error %v", err)
	}
}
