//go:build linux

package parent

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

func TestControlSocket(t *testing.T) {
	c := config.Default()
	c.ControlSocket = filepath.Join(t.TempDir(), "control")
	c.ControlPerm = 0o604
	f, err := openControl(c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(c.ControlSocket); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := openControl(c); err == nil || !strings.Contains(err.Error(), "another daemon listens there") {
		t.Errorf("a socket that is served was taken: %v", err)
	}
	f.Close()
	if f, err = openControl(c); err != nil {
		t.Fatalf("a socket nobody serves is in the way: %v", err)
	}
	f.remove()
	if err := os.WriteFile(c.ControlSocket, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.remove()
	if _, err := openControl(c); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a plain file was taken: %v", err)
	}
	if text, _ := os.ReadFile(c.ControlSocket); string(text) != "precious" {
		t.Error("a plain file was removed")
	}
}

func TestListen(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := reserve(netip.MustParseAddrPort(address), 2, false)
		if err != nil {
			t.Skip(err)
		}
		defer l.close()
		if c, err := net.Dial("tcp", l.bound.String()); err == nil {
			c.Close()
			t.Error("somebody may wait where nobody comes")
		}
		if err := l.serve(5); err != nil {
			t.Fatal(err)
		}
		if l.bound.Port() == 0 || l.bound.Addr() != netip.MustParseAddrPort(address).Addr() {
			t.Errorf("bound to %s", l.bound)
		}
		for _, door := range l.doors {
			using(door, func(fd int) error {
				if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
					t.Errorf("protocol %d, %v", p, err)
				}
				if six, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); l.bound.Addr().Is6() && (err != nil || six != 1) {
					t.Errorf("V6ONLY %d, %v", six, err)
				}
				if a, err := boundTo(fd); err != nil || a != l.bound {
					t.Errorf("a door at %s, not %s: %v", a, l.bound, err)
				}
				return nil
			})
		}
		if err := l.widen(3); err != nil || l.open != min(2, len(l.doors)) {
			t.Errorf("%d doors are open, %v", l.open, err)
		}
		if spreads {
			if first, second := l.doorsOf(0, 2, 3), l.doorsOf(1, 2, 3); len(l.doors) != 3 || len(first) != 2 || len(second) != 1 {
				t.Errorf("%d doors, %d and %d of them for two workers", len(l.doors), len(first), len(second))
			}
		}
		if err := l.serve(7); err != nil {
			t.Error(err)
		}
		if _, err := reserve(l.bound, 2, false); err == nil || !strings.Contains(err.Error(), "in use by another program") {
			t.Errorf("a busy address: %v", err)
		}
	}
}

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

// TestSinkIsTold: who writes to the log knows what the configuration says of it.
func TestSinkIsTold(t *testing.T) {
	c := config.Default()
	c.LogTarget, c.LogFacility, c.LogLevel = "stderr", 2, 4 // mail, warning
	s, err := openSink(c, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if s.Facility != 2 || s.Level != int(slog.LevelWarn) {
		t.Errorf("%+v", s.Sink)
	}
}

// TestLogTarget: where parsers of the old daemon's log may be at work the log goes to
// syslog, under systemd too.
func TestLogTarget(t *testing.T) {
	legacy, _, err := config.Parse("f", []byte("mode none\n"))
	if err != nil {
		t.Fatal(err)
	}
	toml, _, err := config.Parse("f", []byte("[log]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c                   *config.Config
		foreground, journal bool
		want                string
	}{
		{legacy, false, false, "syslog"}, {legacy, true, false, "stderr"}, {legacy, true, true, "syslog"}, {legacy, false, true, "syslog"},
		{toml, false, false, "syslog"}, {toml, true, false, "stderr"}, {toml, true, true, "journal"}, {toml, false, true, "syslog"},
	} {
		if got := destination(tt.c, tt.foreground, tt.journal); got != tt.want {
			t.Errorf("TOML %v, foreground %v, journal %v: %s, want %s", tt.c == toml, tt.foreground, tt.journal, got, tt.want)
		}
	}
	toml.LogTarget, legacy.LogTarget = "syslog", "journal"
	if a, b := destination(toml, true, true), destination(legacy, true, true); a != "syslog" || b != "journal" {
		t.Errorf("what is configured becomes %s and %s", a, b)
	}
}

func TestPrintRooms(t *testing.T) {
	var b bytes.Buffer
	if err := PrintRooms(&b); err != nil {
		t.Fatal(err)
	}
	for i := range rooms {
		r := &rooms[i]
		if !strings.Contains(b.String(), "\n"+r.String()+" ") || len(r.comm) > 15 {
			t.Errorf("row of %s", r)
		}
		for _, l := range r.links {
			if !row(l).linked(r.Room) {
				t.Errorf("%s knows %s, but not the other way round", r, l)
			}
		}
		for _, m := range r.may {
			if m.why == "" {
				t.Errorf("%s may %s for no reason", r, m.word)
			}
		}
	}
}
