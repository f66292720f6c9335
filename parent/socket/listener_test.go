//go:build linux

package socket

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
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
		if err := l.Serve(leastBacklog + 5); err != nil {
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

// TestMend: whatever a worker does to a listener, it listens again, with the queue it
// had, those that were given, too.
func TestMend(t *testing.T) {
	elsewhere, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	to := &unix.SockaddrInet4{Port: elsewhere.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for name, spoil := range map[string]func(fd int) error{
		"shut down": func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) },
		"both ways": func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) },
		"connected": func(fd int) error {
			if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
				return err
			}
			if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
				return err
			}
			return nil
		},
	} {
		for _, given := range []bool{false, true} {
			l, err := reserve(imsgtest.Port(t), 3, false)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			if n, err := l.Mend(); n != 0 || err != nil {
				t.Errorf("before anybody serves it, %d sockets were mended: %v", n, err)
			}
			if err := l.Serve(leastBacklog + 5); err != nil {
				t.Fatal(err)
			}
			l.given = given
			if n, err := l.Mend(); n != 0 || err != nil {
				t.Errorf("where nothing is wrong, %d sockets were mended: %v", n, err)
			}
			if err := using(l.sockets[1], spoil); err != nil {
				t.Fatal(err)
			}
			n, err := l.Mend()
			if n != 1 || err != nil {
				t.Errorf("%s, given %v: %d were mended: %v", name, given, n, err)
			}
			for i, f := range l.sockets {
				var queue uint32
				var at netip.AddrPort
				using(f, func(fd int) (err error) {
					info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
					if err == nil {
						queue = info.Sacked // of a listener
					}
					at, err = boundTo(fd)
					return err
				})
				if !listens(f) || queue != leastBacklog+5 || at != l.Addr {
					t.Errorf("%s, given %v: socket %d listens %v at %s, queue %d", name, given, i, listens(f), at, queue)
				}
			}
		}
	}
}

// TestUnwatched: the parent is not woken for clients, which are the workers' matter, and
// no worker waits in an accept for which there is nobody; neither after an upgrade.
func TestUnwatched(t *testing.T) {
	l, err := reserve(netip.MustParseAddrPort("127.0.0.1:0"), 2, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	unwatched := func(sockets []*os.File) {
		for _, f := range sockets {
			if err := f.SetReadDeadline(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
				t.Errorf("the runtime watches it: %v", err)
			}
			using(f, func(fd int) error {
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
					t.Errorf("it blocks: %o, %v", flags, err)
				}
				if bound, err := boundTo(fd); err != nil || bound != l.Addr {
					t.Errorf("it is bound to %v: %v", bound, err)
				}
				return nil
			})
		}
	}
	unwatched(l.sockets)
	var inherited []*os.File
	for _, f := range l.sockets {
		using(f, func(fd int) error {
			n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			inherited = append(inherited, os.NewFile(uintptr(n), "handed over"))
			return err
		})
	}
	heir := new(Set)
	heir.Inherit(l.bequest(), inherited)
	defer heir.Close()
	for _, own := range heir.open {
		unwatched(own.sockets)
	}
	if len(heir.open) != 1 {
		t.Errorf("%d listeners", len(heir.open))
	}
}
