package spawn

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestReadLines: of what a process writes, lines are heard that hold something, none
// longer than a log takes.
func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for text, want := range map[string][]string{
		"":                   nil,
		"a\n\n\tb\nc":        {"a", "  b", "c"},
		long + "y\nz\n":      {long, "y", "z"},
		"\n\n" + long + "\n": {long},
	} {
		var got []string
		if !readLines(strings.NewReader(text), func(line string) { got = append(got, line) }) {
			t.Errorf("%q is too much", text)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// endless is one text again and again.
type endless string

func (e endless) Read(b []byte) (n int, err error) {
	for n+len(e) <= len(b) {
		n += copy(b[n:], e)
	}
	return n, nil
}

// TestReadTooMuch: neither are they read for ever, whatever stands in them, and that
// some are not is said once.
func TestReadTooMuch(t *testing.T) {
	for _, text := range []string{"a\n", "\n", "x", "\x00"} {
		var got []string
		if readLines(io.Reader(endless(text)), func(line string) { got = append(got, line) }) {
			t.Errorf("%q: there was an end", text)
		}
		// A few more come in while it is read.
		if n := len(got); n == 0 || n > 2*lines.Burst || got[n-1] != tooMuch {
			t.Errorf("%q: %d lines, the last %q", text, n, got[max(n-1, 0):])
		}
	}
}

// TestReadTrap: of a crash that the kernel brought about the last lines are heard, too,
// however long it is; but not for ever.
func TestReadTrap(t *testing.T) {
	const crash, register = "SIGSYS: bad system call\n", "rax    0x65\n"
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the registers are of another machine")
	}
	var got []string
	heard := func(line string) { got = append(got, line) }
	long := strings.Repeat("main.f()\n", 2*lines.Burst)
	if readLines(strings.NewReader(crash+long+register+"rip    0x1\n"), heard); got[0] != strings.TrimSpace(crash) || got[len(got)-1] != strings.TrimSpace(register) {
		t.Errorf("the last of %d lines is %q", len(got), got[len(got)-1])
	}
	if readLines(io.MultiReader(strings.NewReader(crash), endless("x\n")), heard) {
		t.Error("there was an end")
	}
}
