//go:build linux

package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// own returns the descriptors of n writers to a log.
func own(t *testing.T, s *Sink, n int) (all []*os.File) {
	t.Helper()
	for range n {
		f, err := s.Own()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %o, %v", flags, err)
		}
		all = append(all, f)
	}
	return all
}

// stderrIs runs what opens stderr while that is another file.
func stderrIs(t *testing.T, f *os.File) *Sink {
	t.Helper()
	old := os.Stderr
	os.Stderr = f
	defer func() { os.Stderr = old }()
	s, err := OpenSink("stderr", imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.File.Close() })
	return s
}

// TestOwnFile: a writer to a file that changes the mode of its descriptor, or its
// place, changes nobody else's; moved away, the file is the same.
func TestOwnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	named, err := OpenSink(path, imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer named.File.Close()
	stderr, err := os.Create(path + ".stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	for name, s := range map[string]*Sink{path: named, stderr.Name(): stderrIs(t, stderr)} {
		all := own(t, s, 2)
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(all[0].Fd(), unix.F_SETFL, 0); err != nil {
			t.Fatal(err)
		}
		if name != path {
			fmt.Fprint(stderr, "by our starter\n")
		}
		fmt.Fprint(all[1], "one\n")
		unix.Seek(int(all[0].Fd()), 0, 0)
		fmt.Fprint(all[1], "two\n")
		fmt.Fprint(own(t, s, 1)[0], "three\n")
		text, err := os.ReadFile(name + ".1")
		if want := "one\ntwo\nthree\n"; err != nil || !strings.HasSuffix(string(text), want) || name != path && string(text) != "by our starter\n"+want {
			t.Errorf("%s: %q, %v", filepath.Base(name), text, err)
		}
	}
}

// TestOwnTerminal: who writes to a terminal cannot read what is typed there.
func TestOwnTerminal(t *testing.T) {
	keyboard, screen := terminal(t)
	if _, err := keyboard.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	f := own(t, stderrIs(t, screen), 1)[0]
	if n, err := unix.Read(int(f.Fd()), make([]byte, 16)); err != unix.EBADF {
		t.Errorf("%d octets were read, %v", n, err)
	}
	if _, err := f.WriteString("line\n"); err != nil {
		t.Error(err)
	}
}

// terminal makes a pseudoterminal (pts(4)).
func terminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		imsgtest.Lacks(t, "no pseudoterminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		imsgtest.Lacks(t, "no pseudoterminal: %v", err)
	}
	n, err := unix.IoctlGetUint32(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		imsgtest.Lacks(t, "no pseudoterminal: %v", err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		imsgtest.Lacks(t, "no pseudoterminal: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	return keyboard, screen
}

// TestOwnSocket: one writer that shuts its socket down silences nobody else.
func TestOwnSocket(t *testing.T) {
	for _, tt := range []struct {
		network string
		kind    imsg.SinkKind
	}{{"unixgram", imsg.SinkSyslog}, {"unix", imsg.SinkSyslog}, {"unixgram", imsg.SinkJournal}} {
		path := filepath.Join(t.TempDir(), "log")
		heard := hearAll(t, tt.network, path)
		s := new(Sink)
		if err := s.dial(tt.kind, path); err != nil {
			t.Fatal(err)
		}
		defer s.File.Close()
		all := own(t, s, 2)
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_WR} {
			if err := unix.Shutdown(int(all[0].Fd()), how); err != nil {
				t.Error(err)
			}
		}
		for _, f := range []*os.File{all[1], own(t, s, 1)[0]} {
			if _, err := f.WriteString("line"); err != nil {
				t.Errorf("%s: %v", tt.network, err)
			}
			if got := imsgtest.Receive(t, "a line", heard); got != "line" {
				t.Errorf("heard %q", got)
			}
		}
	}
}

// hearAll tells what is written to a socket, by whoever connects.
func hearAll(t *testing.T, network, path string) <-chan string {
	t.Helper()
	heard := make(chan string, 8)
	read := func(c net.Conn) {
		for buf := make([]byte, 64); ; {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}
	if network == "unixgram" {
		c, err := net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go read(c)
		return heard
	}
	l, err := net.Listen(network, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go read(c)
		}
	}()
	return heard
}

// TestOwnGone: where nobody listens any more there is a descriptor all the same.
func TestOwnGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := new(Sink)
	if err := s.dial(imsg.SinkSyslog, path); err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	l.Close()
	own(t, s, 1)
}

// TestOwnFull: a log daemon that accepts nobody holds up nobody who wants a descriptor.
func TestOwnFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := errors.Join(unix.Bind(l, &unix.SockaddrUnix{Name: path}), unix.Listen(l, 0)); err != nil {
		t.Fatal(err)
	}
	s := new(Sink)
	if err := s.dial(imsg.SinkSyslog, path); err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	const rooms = 20
	begun := time.Now()
	own(t, s, rooms)
	if took := time.Since(begun); took > rooms*sendSeconds*time.Second/2 {
		t.Errorf("%d rooms took %v", rooms, took)
	}
	if _, err := dialLog(path, unix.SOCK_STREAM); err != unix.EAGAIN {
		t.Errorf("it is not full: %v", err)
	}
}
