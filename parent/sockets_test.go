//go:build linux

package parent

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// socketSpec names what a socket was given.
func socketSpec(f *os.File) string {
	var words []string
	using(f, func(fd int) error {
		option := func(name string, level, option int) {
			if n, err := unix.GetsockoptInt(fd, level, option); err == nil {
				words = append(words, fmt.Sprintf("%s=%d", name, n))
			}
		}
		option("family", unix.SOL_SOCKET, unix.SO_DOMAIN)
		option("protocol", unix.SOL_SOCKET, unix.SO_PROTOCOL)
		option("mark", unix.SOL_SOCKET, unix.SO_MARK)
		option("transparent", unix.SOL_IP, unix.IP_TRANSPARENT)
		option("late", unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		words = append(words, fmt.Sprint("nonblocking=", err == nil && flags&unix.O_NONBLOCK != 0))
		return nil
	})
	return strings.Join(words, " ")
}

func TestMakeSocket(t *testing.T) {
	for _, c := range []struct {
		mode imsg.Mode
		mark uint32
		six  bool
		want string
	}{
		{imsg.ModeFixed, 7, false, "family=2 protocol=6 mark=7 transparent=0 late=1 nonblocking=true"},
		{imsg.ModeTproxy, 0, false, "family=2 protocol=6 mark=0 transparent=1 late=1 nonblocking=true"},
		{imsg.ModeTproxyNetfilter, 1<<32 - 1, true, "family=10 protocol=6 mark=-1 transparent=1 late=1 nonblocking=true"},
	} {
		cfg := config.Default()
		cfg.Mode, cfg.SoMark = c.mode, c.mark
		f, err := makeSocket(cfg, c.six)
		if !rooted() {
			if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("without privilege: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := socketSpec(f); got != c.want {
			t.Errorf("mode %s: %s, want %s", c.mode, got, c.want)
		}
		f.Close()
	}
}

// TestSupply: a worker gets what it asks for, if that makes sense.
func TestSupply(t *testing.T) {
	if !rooted() {
		t.Skip("needs root")
	}
	h := newHouse(t, "so_mark 7", "proxy_name want-sockets:session")
	h.start(false)
	h.working()
	h.waitFor("socket ipv6=false, is=family=2 protocol=6 mark=7 ", 2*3)
	h.waitFor("socket ipv6=true, is=family=10 protocol=6 mark=7 ", 2*2)
}

func TestGreedIsEnded(t *testing.T) {
	if !rooted() {
		t.Skip("needs root")
	}
	for name, lines := range map[string][]string{
		"too many":   {"so_mark 7", "proxy_name want-many:session"},
		"none":       {"so_mark 7", "proxy_name want-none:session"},
		"needs none": {"proxy_name want-sockets:session"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, lines...)
			h.start(false)
			h.waitFor("room asks for sockets it cannot need", 1)
			h.waitFor("room ended unasked room=session", 1)
			if n := h.count("socket ipv6="); n > 0 {
				t.Errorf("it got %d", n)
			}
		})
	}
}

// TestUnaffordable: what takes a privilege is missed before the start.
func TestUnaffordable(t *testing.T) {
	h := newHouse(t, "so_mark 7")
	h.start(true)
	h.end()
	h.waitFor("so_mark: mark a socket: not permitted: start as root, or with the capability CAP_NET_ADMIN", 1)
}

func TestForeignListener(t *testing.T) {
	if !rooted() {
		t.Skip("needs root")
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, late := range []bool{false, true} {
			l, err := reserve(netip.MustParseAddrPort(address), 2, !late)
			if err == nil && late {
				err = l.welcomeForeign()
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, door := range l.doors {
				if got := socketSpec(door); !strings.Contains(got, "transparent=1") || !l.foreign {
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
