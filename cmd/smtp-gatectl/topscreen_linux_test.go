package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// terminal is a fresh one: what has drawn on it can be read from the first.
func terminal(t *testing.T) (drawn, tty *os.File) {
	t.Helper()
	drawn, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		imsgtest.Lacks(t, "no terminal: %v", err)
	}
	t.Cleanup(func() { drawn.Close() })
	fd := int(drawn.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: topHeight, Col: topWidth})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return drawn, tty
}

// TestTopPanics: a fault of ours, in whatever goroutine, leaves the terminal as it was.
func TestTopPanics(t *testing.T) {
	drawn, tty := terminal(t)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	p := newTop(&topDaemon{tool: &tool{socket: filepath.Join(t.TempDir(), "none")}}, newScreen(tty, tty), shortestLook)
	p.begin(func() { panic("a fault") })
	var fault any
	func() {
		defer func() { fault = recover() }()
		t.Errorf("it ends with %v", p.run())
	}()
	if text := fmt.Sprint(fault); !strings.HasPrefix(text, "a fault\n") || !strings.Contains(text, "TestTopPanics") {
		t.Errorf("it panics with %q", text)
	}
	if after, err := term.GetState(int(tty.Fd())); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("the terminal is %+v, and was %+v: %v", after, before, err)
	}
	out := make([]byte, 64<<10)
	n, err := drawn.Read(out)
	if err != nil || !bytes.HasPrefix(out[:n], []byte(enterScreen)) {
		t.Fatalf("drawn is %q: %v", out[:n], err)
	}
	for !bytes.HasSuffix(out[:n], []byte(leaveScreen)) {
		more, err := drawn.Read(out[n:])
		if err != nil {
			t.Fatalf("drawn is %q: %v", out[:n], err)
		}
		n += more
	}
	drawn.Close() // which ends who reads
	for range p.typed {
	}
}

// TestScreenDrawsWhatChanges: a line that is as it was is not drawn again.
func TestScreenDrawsWhatChanges(t *testing.T) {
	drawn, tty := terminal(t)
	s := newScreen(tty, tty)
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	defer s.leave()
	read := func() string {
		b := make([]byte, 64<<10)
		n, _ := drawn.Read(b)
		return string(b[:n])
	}
	read()
	s.show([]topLine{{"one", plainInk}, {strings.Repeat("x", topWidth), reverseInk}})
	if got, want := read(), clearScreen+"\x1b[1;1Hone\x1b[0m"+clearLine+"\x1b[2;1H\x1b[7m"+strings.Repeat("x", topWidth)+"\x1b[0m"; got != want {
		t.Errorf("drawn is %q", got)
	}
	s.show([]topLine{{"one", plainInk}, {"two", boldInk}})
	if got := read(); got != "\x1b[2;1H\x1b[1mtwo\x1b[0m"+clearLine {
		t.Errorf("drawn is %q", got)
	}
}

// TestScreenKeepsWhatItFound: what a shell has set for itself, while we were stopped, is not
// what the terminal is given back as.
func TestScreenKeepsWhatItFound(t *testing.T) {
	_, tty := terminal(t)
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(tty, tty)
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	s.leave()
	if _, err := term.MakeRaw(fd); err != nil { // as a shell does that reads a line
		t.Fatal(err)
	}
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	s.leave()
	if after, err := term.GetState(fd); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("the terminal is %+v, and was %+v: %v", after, before, err)
	}
}

// TestScreenDoesNotBlock: a terminal that another program has had not block is read and
// drawn on like others, and nobody asks it again and again.
func TestScreenDoesNotBlock(t *testing.T) {
	drawn, tty := terminal(t)
	fd, err := unix.Dup(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(fd), "the terminal") // it blocks, as far as that one knows
	defer ours.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	s := newScreen(ours, ours)
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	typed := make(chan []byte)
	go s.read(typed)
	text := strings.Repeat("much ", 8<<10) // more than a terminal holds
	failed := make(chan error, 1)
	go func() { failed <- s.write(text) }()
	for b, n := make([]byte, 4<<10), 0; n < len(enterScreen)+len(text); {
		m, err := drawn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if _, err := drawn.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if got := <-typed; string(got) != "x" {
		t.Errorf("%q is read", got)
	}
	s.leave()
	drawn.Close()
	if got, more := <-typed; more {
		t.Errorf("behind the end %q is read", got)
	}
}
