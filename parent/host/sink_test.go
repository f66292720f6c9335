//go:build linux

package host

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// TestLogMoves: the log is opened again when its name leads elsewhere.
func TestLogMoves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep/log")
	s, err := OpenSink(path, imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if s.Kind != imsg.SinkStream || s.Moved() {
		t.Errorf("kind %d, moved %v", s.Kind, s.Moved())
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if !s.Moved() {
		t.Error("a rotated file was not noticed")
	}
	next, err := OpenSink(path, imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer next.File.Close()
	if !s.Moved() || next.Moved() {
		t.Error("the old one has moved, the new one has not")
	}
}

// TestLogSocketMoves: a socket that was made anew is another one, even in the inode of the
// one before.
func TestLogSocketMoves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listen := func() *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	s := &Sink{path: path}
	for range 5 {
		c := listen()
		if err := s.dial(imsg.SinkSyslog, path); err != nil {
			t.Fatal(err)
		}
		s.info, _ = os.Stat(path)
		if s.Moved() {
			t.Error("it has moved, and was not touched")
		}
		if err := os.Chmod(path, 0o666); err != nil || s.Moved() {
			t.Errorf("another mode is no other socket: %v", err)
		}
		c.Close()
		os.Remove(path)
		c = listen()
		if !s.Moved() {
			t.Error("it has not moved")
		}
		s.File.Close()
		c.Close()
		os.Remove(path)
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
		s := &Sink{Sink: imsg.Sink{Level: int(slog.LevelInfo), Facility: 2}}
		if err := s.dial(tt.kind, path); err != nil {
			t.Fatal(err)
		}
		l := logs.New(imsg.Session)
		l.SetSink(&s.Sink, s.File)
		l.Logger().Info("CLOSE", imsg.SessionKey, 9, "by", "client", "src", "192.0.2.1")
		select {
		case got := <-heard:
			if !strings.Contains(got, tt.want) {
				t.Errorf("%s %d: %q", tt.network, tt.kind, got)
			}
		case <-time.After(imsgtest.Patience):
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
		if StderrIsJournal() != want {
			t.Errorf("JOURNAL_STREAM=%s: %v", v, !want)
		}
	}
}
