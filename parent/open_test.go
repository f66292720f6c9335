//go:build linux

package parent

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
		{legacy, false, false, "syslog"},
		{legacy, true, false, "stderr"},
		{legacy, true, true, "syslog"},
		{legacy, false, true, "syslog"},
		{toml, false, false, "syslog"},
		{toml, true, false, "stderr"},
		{toml, true, true, "journal"},
		{toml, false, true, "syslog"},
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
		if r.slice == nil || !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Name == r.user }) {
			t.Errorf("%s is told nothing, or has no option %q", r, r.user)
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
