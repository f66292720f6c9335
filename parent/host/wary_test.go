//go:build linux

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestTraps: what others may have put in the log's place is not opened; what only root
// or we can have put there is, whatever it is.
func TestTraps(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	make := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	link := func(path string) error { return os.Symlink(precious, path) }
	for what, c := range map[string]struct {
		make      func(path string) error
		anywhere  bool // opened where others may write as well
		sticky    bool // opened where they may, but not in the place of ours
		othersOwn bool // needs root
	}{
		"nothing":         {func(string) error { return nil }, true, true, false},
		"file":            {make, true, true, false},
		"link":            {link, false, true, false},
		"link to nothing": {func(path string) error { return os.Symlink(filepath.Join(dir, "new"), path) }, false, true, false},
		"hard link":       {func(path string) error { return os.Link(precious, path) }, false, false, false},
		"linked twice": {func(path string) error {
			if err := link(path + "2"); err != nil {
				return err
			}
			return os.Link(path+"2", path)
		}, false, false, false},
		"pipe":           {pipeWithReader(t), false, true, false},
		"others' file":   {func(path string) error { return given(make, path) }, false, false, true},
		"others' link":   {func(path string) error { return given(link, path) }, false, false, true},
		"others' folder": {func(path string) error { return given(func(p string) error { return os.Mkdir(p, 0o755) }, path) }, false, false, true},
	} {
		if c.othersOwn && os.Geteuid() != 0 {
			continue
		}
		for mode, want := range map[os.FileMode]bool{
			0o755: what != "others' folder", 0o757: c.anywhere, 0o757 | os.ModeSticky: c.sticky, 0o1: c.anywhere, 0o775: c.anywhere,
		} {
			if err := make(precious); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(dir, fmt.Sprintf("%s %o", what, mode))
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "log")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			switch {
			case mode == 0o1 && os.Geteuid() != 0:
				continue
			case mode == 0o1: // somebody else's
				os.Chown(folder, 65534, 0)
			case mode == 0o775 && os.Geteuid() == 0:
				os.Chown(folder, 0, 65534)
				fallthrough
			default:
				os.Chmod(folder, mode)
			}
			s, err := OpenSink(path, imsg.Sink{})
			if (err == nil) != want {
				t.Errorf("%s in a folder of mode %v: %v", what, mode, err)
			}
			if err == nil {
				if s.Moved() {
					t.Errorf("%s: it has moved", what)
				}
				s.File.Close()
			}
		}
	}
}

// given makes something somebody else's.
func given(make func(string) error, path string) error {
	if err := make(path); err != nil {
		return err
	}
	return os.Lchown(path, 65534, 65534)
}

func pipeWithReader(t *testing.T) func(string) error {
	return func(path string) error {
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { f.Close() })
		}
		return err
	}
}

// TestTrapsAbove: neither is what lies above the log followed, if others may have put it
// there; an administrator's link is, and so are those of proc(5).
func TestTrapsAbove(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"open/real", "shut", "target"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(dir, "open"), 0o777)
	for link, to := range map[string]string{
		"open/trap": "../target", "shut/admin": "../target", "shut/whole": filepath.Join(dir, "target"), "loop": "loop",
		"stdout": "/proc/self/fd/1", "shut/into": filepath.Join(dir, "open/trap"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{
		"open/real/log": true, "open/trap/log": false, "shut/admin/log": true, "shut/whole/log": true, "loop/log": false, "loop": false,
		"shut/into/log": false, "open/real/../../target/log": true, "stdout": true, "target": false, "absent/log": false,
	} {
		fd, err := makeWary(dir+"/"+name, unix.O_WRONLY|unix.O_NONBLOCK, 0o600)
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

// TestStuckPipe: a pipe that nobody reads holds nobody up, but for the writer's own
// goroutine.
func TestStuckPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := OpenSink(path, imsg.Sink{})
		opened <- err
	}()
	if err := imsgtest.Receive(t, "an answer", opened); err == nil {
		t.Error("a pipe without a reader was opened")
	}
}
