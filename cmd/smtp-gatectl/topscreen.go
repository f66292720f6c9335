// The terminal of top. This file owns that it is left as it was found, and that no line is
// drawn twice.

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// What a terminal is told (ECMA-48, and what xterm added).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J"
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
	clearScreen = "\x1b[0m\x1b[2J"
	clearLine   = "\x1b[K"
)

var inks = [...]string{plainInk: "", boldInk: "\x1b[1m", reverseInk: "\x1b[7m"}

// screen is the terminal.
type screen struct {
	in, out *os.File
	found   *term.State // as it was at the first
	shown   []topLine
	width   int // when that was
	height  int
}

func newScreen(in, out *os.File) *screen { return &screen{in: in, out: out} }

// enter takes the terminal over, be it once more: a shell may have set it otherwise, for
// itself.
func (s *screen) enter() error {
	before, err := term.MakeRaw(int(s.in.Fd()))
	if err != nil {
		return err
	}
	if s.found == nil {
		s.found = before
	}
	s.shown = nil
	return s.write(enterScreen)
}

// leave gives it back.
func (s *screen) leave() {
	s.write(leaveScreen)
	if s.found != nil {
		term.Restore(int(s.in.Fd()), s.found)
	}
}

// forget has all lines drawn at the next time.
func (s *screen) forget() { s.shown = nil }

// size is the terminal's, or the usual one if it does not tell.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return topWidth, topHeight
	}
	return width, height
}

// show draws the lines that have changed, in one piece.
func (s *screen) show(lines []topLine) {
	var b strings.Builder
	width, height := s.size()
	if s.shown == nil || width != s.width || height != s.height {
		b.WriteString(clearScreen)
		s.shown, s.width, s.height = make([]topLine, height), width, height
	}
	for i := range s.shown {
		var l topLine
		if i < len(lines) {
			l = lines[i]
		}
		if l == s.shown[i] {
			continue
		}
		s.shown[i] = l
		fmt.Fprintf(&b, "\x1b[%d;1H%s%s\x1b[0m", i+1, inks[l.ink], l.text)
		if len(l.text) < width { // behind the last column it would take that one away
			b.WriteString(clearLine)
		}
	}
	s.write(b.String())
}

// write writes all, also where another program has had the terminal not block.
func (s *screen) write(text string) error {
	for {
		n, err := s.out.WriteString(text)
		if text = text[n:]; !errors.Is(err, unix.EAGAIN) {
			return err
		}
		wait(s.out, unix.POLLOUT)
	}
}

// wait waits until a file is ready, or its end is to be met.
func wait(f *os.File, events int16) {
	unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: events}}, -1)
}

// read brings what is typed, until there is no more.
func (s *screen) read(to chan<- []byte) {
	defer close(to)
	for {
		b := make([]byte, 256)
		wait(s.in, unix.POLLIN)
		n, err := unix.Read(int(s.in.Fd()), b)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil || n == 0:
			return
		default:
			to <- b[:n]
		}
	}
}
