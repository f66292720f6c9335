//go:build linux

package parent

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
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
