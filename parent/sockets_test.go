//go:build linux

package parent

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// socketSpec names what a socket was given.
func socketSpec(f *os.File) string {
	var words []string
	raw, err := f.SyscallConn()
	if err != nil {
		return err.Error()
	}
	raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			name          string
			level, option int
		}{{"family", unix.SOL_SOCKET, unix.SO_DOMAIN}, {"protocol", unix.SOL_SOCKET, unix.SO_PROTOCOL}, {"mark", unix.SOL_SOCKET, unix.SO_MARK}} {
			n, err := unix.GetsockoptInt(int(fd), o.level, o.option)
			words = append(words, fmt.Sprintf("%s=%d", o.name, n))
			if err != nil {
				words = append(words, err.Error())
			}
		}
	})
	return strings.Join(words, " ") + " "
}

// TestSupply: a worker gets what it asks for, if that makes sense.
func TestSupply(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	h := newHouse(t, "so_mark 7", "proxy_name want-sockets:session")
	h.start(false, "GATED_KERNEL=no-seccomp") // it looks at the mark
	h.working()
	h.waitFor("socket ipv6=false, is=family=2 protocol=6 mark=7 ", 2*3)
	h.waitFor("socket ipv6=true, is=family=10 protocol=6 mark=7 ", 2*2)
}

func TestGreedIsEnded(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	h := newHouse(t, "proxy_name want-sockets:session")
	h.start(false)
	h.waitFor("room asks for sockets it cannot need", 1)
	h.waitFor("room ended unasked room=session", 1)
	if n := h.count("socket ipv6="); n > 0 {
		t.Errorf("it got %d", n)
	}
}

// TestUnaffordable: what takes a privilege is missed before the start.
func TestUnaffordable(t *testing.T) {
	h := newHouse(t, "so_mark 7")
	h.start(true)
	h.end()
	h.waitFor("put the firewall mark on a socket: not permitted: start as root, or with the capability CAP_NET_ADMIN", 1)
}
