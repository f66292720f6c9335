//go:build linux

package socket

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := reserve(netip.MustParseAddrPort(address), 2, false)
		if err != nil {
			t.Skip(err)
		}
		defer l.close()
		if c, err := net.Dial("tcp", l.Addr.String()); err == nil {
			c.Close()
			t.Error("somebody may wait where nobody comes")
		}
		if err := l.Serve(5); err != nil {
			t.Fatal(err)
		}
		if l.Addr.Port() == 0 || l.Addr.Addr() != netip.MustParseAddrPort(address).Addr() {
			t.Errorf("bound to %s", l.Addr)
		}
		for _, f := range l.sockets {
			using(f, func(fd int) error {
				if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
					t.Errorf("protocol %d, %v", p, err)
				}
				if six, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); l.Addr.Addr().Is6() && (err != nil || six != 1) {
					t.Errorf("V6ONLY %d, %v", six, err)
				}
				if a, err := boundTo(fd); err != nil || a != l.Addr {
					t.Errorf("a socket at %s, not %s: %v", a, l.Addr, err)
				}
				return nil
			})
		}
		if err := l.grow(3); err != nil || l.open != min(2, len(l.sockets)) {
			t.Errorf("%d sockets are open, %v", l.open, err)
		}
		if spreads {
			if first, second := l.Share(0, 2, true), l.Share(1, 2, true); len(l.sockets) != 3 || len(first) != 2 || len(second) != 1 {
				t.Errorf("%d sockets, %d and %d of them for two workers", len(l.sockets), len(first), len(second))
			}
		}
		if err := l.Serve(7); err != nil {
			t.Error(err)
		}
		if _, err := reserve(l.Addr, 2, false); err == nil || !strings.Contains(err.Error(), "in use by another program") {
			t.Errorf("a busy address: %v", err)
		}
	}
}

func TestTransparentListener(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, late := range []bool{false, true} {
			l, err := reserve(netip.MustParseAddrPort(address), 2, !late)
			if err == nil && late {
				err = l.setTransparent()
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range l.sockets {
				if got := describe(f); !strings.Contains(got, "transparent=1") || !l.transparent {
					t.Errorf("%s: %s", address, got)
				}
			}
			l.close()
		}
	}
	// An address that is nobody's here.
	l, err := reserve(netip.MustParseAddrPort("192.0.2.77:0"), 1, true)
	if err != nil {
		t.Fatal(err)
	}
	l.close()
}
