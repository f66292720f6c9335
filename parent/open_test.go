//go:build linux

package parent

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

func TestScannerFolder(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run/clamav", "run/spamd", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"run/clamav/ctl", "run/spamd/sock", "elsewhere/real"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"var": "run", "run/spamd/link": "../../elsewhere/real"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ sockets, root, local string }{
		{"", "", ""},
		{"run/clamav/ctl", "run/clamav", "ctl"},
		{"run/clamav/ctl run/clamav/other", "run/clamav", "ctl other"},
		{"run/clamav/ctl run/spamd/sock", "run", "clamav/ctl spamd/sock"},
		{"run/clamav/ctl run/clamavd/ctl", "run", "clamav/ctl clamavd/ctl"},
		{"var/clamav/ctl run/spamd/sock", "run", "clamav/ctl spamd/sock"},
		{"run/spamd/link", "elsewhere", "real"},
		{"run/spamd/link run/spamd/sock", "", "elsewhere/real run/spamd/sock"},
		{"run/mksd/socket", "run", "mksd/socket"}, // not started yet
	} {
		var sockets []string
		for s := range strings.FieldsSeq(c.sockets) {
			sockets = append(sockets, filepath.Join(top, s))
		}
		root, local := scannerFolder(sockets)
		var names []string
		for _, s := range sockets {
			names = append(names, local[s])
		}
		want := filepath.Join(top, c.root)
		if c.sockets == "" {
			want = ""
		}
		if root != want || strings.Join(names, " ") != c.local {
			t.Errorf("%q: root %s, names %q; want %s, %s", c.sockets, root, names, want, c.local)
		}
	}
	if root, local := scannerFolder([]string{"/a-b-c/ctl", "/x-y-z/sock"}); root != "/" || local["/x-y-z/sock"] != "x-y-z/sock" {
		t.Errorf("root %s, names %v", root, local)
	}
}

func TestNameservers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\nnameserver nonsense\n" +
		"nameserver fe80::1%eth0 # router\nnameserver\nnameserver 2001:db8::1\nnameserver 192.0.2.4\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(nameservers(path)); got != "[192.0.2.1:53 [fe80::1%eth0]:53 [2001:db8::1]:53]" {
		t.Error(got)
	}
	if got := nameservers(path + ".none"); got != nil {
		t.Error(got)
	}
}

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
	defer s.file.Close()
	if s.Facility != 2 || s.Level != int(slog.LevelWarn) {
		t.Errorf("%+v", s.Sink)
	}
}

// TestLogMoves: the log is opened again when its name leads elsewhere.
func TestLogMoves(t *testing.T) {
	c := config.Default()
	c.LogTarget = filepath.Join(t.TempDir(), "deep/log")
	s, err := openSink(c, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	if s.Kind != imsg.SinkStream || s.moved() {
		t.Errorf("kind %d, moved %v", s.Kind, s.moved())
	}
	if err := os.Rename(s.path, s.path+".1"); err != nil {
		t.Fatal(err)
	}
	if !s.moved() {
		t.Error("a rotated file was not noticed")
	}
	next, err := openSink(c, true)
	if err != nil {
		t.Fatal(err)
	}
	defer next.file.Close()
	if !s.moved() || next.moved() {
		t.Error("the old one has moved, the new one has not")
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

// TestLogSockets plays /dev/log, in both forms systems have, and the journal: each
// line names its session where its readers look for it.
func TestLogSockets(t *testing.T) {
	for _, tt := range []struct {
		network string
		kind    imsg.SinkKind
		want    string
	}{
		{"unixgram", imsg.SinkSyslog, " smtp-gated[9]: CLOSE by=client, src=192.0.2.1"},
		{"unix", imsg.SinkSyslog, " smtp-gated[9]: CLOSE by=client, src=192.0.2.1\x00"},
		{"unixgram", imsg.SinkJournal, "GATED_SESSION=9\nMESSAGE=CLOSE by=client, src=192.0.2.1, session=9\n"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		heard := make(chan string, 1)
		overhear(t, tt.network, path, heard)
		s := &sink{Sink: imsg.Sink{Level: int(slog.LevelInfo), Facility: 2}}
		if err := s.dial(tt.kind, path); err != nil {
			t.Fatal(err)
		}
		l := logs.New(imsg.Session)
		l.SetSink(&s.Sink, s.file)
		l.Logger().Info("CLOSE", imsg.SessionKey, 9, "by", "client", "src", "192.0.2.1")
		select {
		case got := <-heard:
			if !strings.Contains(got, tt.want) {
				t.Errorf("%s %d: %q", tt.network, tt.kind, got)
			}
		case <-time.After(patience):
			t.Errorf("%s %d: nothing is heard", tt.network, tt.kind)
		}
	}
}

// overhear tells the first thing that is written to a socket.
func overhear(t *testing.T, network, path string, heard chan<- string) {
	t.Helper()
	var conn func() (net.Conn, error)
	if network == "unix" {
		l, err := net.Listen(network, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		conn = l.Accept
	} else {
		c, err := net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conn = func() (net.Conn, error) { return c, nil }
	}
	go func() {
		c, err := conn()
		if err != nil {
			return
		}
		buf := make([]byte, 64<<10)
		n, _ := c.Read(buf)
		heard <- string(buf[:n])
		c.Close()
	}()
}

func TestJournalStream(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Fstat(2, &st); err != nil {
		t.Fatal(err)
	}
	for v, want := range map[string]bool{
		"": false, "1": false, "1:1": false, fmt.Sprintf("%d:%d", st.Dev, st.Ino): true, fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
	} {
		t.Setenv("JOURNAL_STREAM", v)
		if stderrIsJournal() != want {
			t.Errorf("JOURNAL_STREAM=%s: %v", v, !want)
		}
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
