//go:build linux

package parent

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestSocketActivation passes sockets the way systemd does.
func TestSocketActivation(t *testing.T) {
	h := newHouse(t, "port 1") // which nobody may take: it must not be tried
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h.inherit = []*os.File{f}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.run(exec.Command(sh, "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec "$0" -x parent "$1"`, me, h.conf), false)
	h.waitFor("listen=["+l.Addr().String()+"]", 1)
	h.signal(unix.SIGHUP)
	h.waitFor("generation=2, version=test, listen=["+l.Addr().String()+"]", 1)
}

// TestRooms: each room's row is whole.
func TestRooms(t *testing.T) {
	for i := range rooms {
		r := &rooms[i]
		if len(r.comm) > 15 {
			t.Errorf("%s is called %s", r.Name, r.comm)
		}
		if r.slice == nil || !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Name == r.User }) {
			t.Errorf("%s is told nothing, or has no option %q", r.Name, r.User)
		}
		for _, l := range r.links {
			if !row(l).linked(r.Name) {
				t.Errorf("%s knows %s, but not the other way round", r.Name, l)
			}
		}
		for _, m := range r.may {
			if m.why == "" {
				t.Errorf("%s may %s for no reason", r.Name, m.word)
			}
		}
	}
}

// row returns a room's row.
func row(r imsg.Room) *room {
	for i := range rooms {
		if rooms[i].Name == r {
			return &rooms[i]
		}
	}
	return nil
}
