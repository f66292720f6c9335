//go:build linux

package parent

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestShutListener: what a worker does to its listener does not outlive the worker,
// and where it is the only one, not the next look.
func TestShutListener(t *testing.T) {
	t.Parallel()
	for name, killed := range map[string]bool{"killed": true, "looked at": false} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, asNobody bool) {
				at := imsgtest.Port(t)
				h := newHouse(t, "workers 1", fmt.Sprint("port ", at.Port()), "proxy_name shut-listener:session")
				every := "1s"
				if killed {
					every = "1h"
				}
				h.start(asNobody, "GATED_ASK_EVERY="+every)
				h.working()
				h.waitFor("shut error=<nil>", 1)
				if killed {
					if c, err := net.Dial("tcp", at.String()); err == nil {
						c.Close()
						t.Error("it was not shut down")
					}
					unix.Kill(h.room("session")[0].pid, unix.SIGKILL)
					h.waitFor("started room=session", 2)
				}
				h.waitFor("listener had stopped listening address="+at.String()+", sockets=1", 1)
				c, err := net.Dial("tcp", at.String())
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			})
		})
	}
}

// TestShutControl: neither does what lockd does to the sockets of operators and readers.
func TestShutControl(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t, "proxy_name shut-listener:lockd")
		h.start(asNobody)
		h.working()
		h.waitFor("shut error=<nil>", 1)
		unix.Kill(h.room("lockd")[0].pid, unix.SIGKILL)
		h.waitFor("started room=lockd", 2)
		for _, name := range []string{"control", "status"} {
			path := h.dir + "/run/" + name
			h.waitFor("control socket had stopped listening path="+path, 1)
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				t.Error(err)
			}
		}
	})
}
