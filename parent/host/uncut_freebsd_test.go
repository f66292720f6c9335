package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestUncut: who was handed a descriptor of the log can write a line, and nothing else.
func TestUncut(t *testing.T) {
	s, err := OpenSink(filepath.Join(t.TempDir(), "log"), imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	f, err := s.Own()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("line\n"); err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd())
	_, seeks := unix.Seek(fd, 0, 0)
	_, setsFlags := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
	for what, err := range map[string]error{"cut": unix.Ftruncate(fd, 0), "seek": seeks, "set flags": setsFlags} {
		if !errors.Is(err, unix.ENOTCAPABLE) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if text, _ := os.ReadFile(s.File.Name()); string(text) != "line\n" {
		t.Errorf("the log: %q", text)
	}
}
