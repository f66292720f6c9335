//go:build linux

package socket

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// describe names what a socket was given.
func describe(f *os.File) string {
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

func TestMake(t *testing.T) {
	for _, c := range []struct {
		mode imsg.Mode
		mark uint32
		ipv6 bool
		want string
	}{
		{imsg.ModeFixed, 7, false, "family=2 protocol=6 mark=7 transparent=0 late=1 nonblocking=true"},
		{imsg.ModeTproxy, 0, false, "family=2 protocol=6 mark=0 transparent=1 late=1 nonblocking=true"},
		{imsg.ModeTproxyNetfilter, 1<<32 - 1, true, "family=10 protocol=6 mark=-1 transparent=1 late=1 nonblocking=true"},
	} {
		f, err := Outgoing{Mode: c.mode, Mark: c.mark}.Make(c.ipv6)
		if os.Geteuid() != 0 {
			if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("without privilege: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(f); got != c.want {
			t.Errorf("mode %s: %s, want %s", c.mode, got, c.want)
		}
		f.Close()
	}
}
