package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFresh: whatever lies in a file's place, or in that of the one
// before it is complete, is replaced and not written to.
func TestFresh(t *testing.T) {
	for name, lay := range map[string]func(path, precious string) error{
		"link":      func(path, precious string) error { return os.Symlink(precious, path) },
		"hard link": func(path, precious string) error { return os.Link(precious, path) },
		"pipe":      func(path, _ string) error { return unix.Mkfifo(path, 0o600) },
	} {
		dir := t.TempDir()
		precious := filepath.Join(dir, "precious")
		if err := os.WriteFile(precious, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "state")
		for _, path := range []string{file, file + ".tmp"} {
			if err := lay(path, precious); err != nil {
				t.Fatal(err)
			}
		}
		f, err := NewFresh(file, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("new")
		if err := f.Finish(nil); err != nil {
			t.Error(err)
		}
		state, err := os.ReadFile(file)
		if kept, _ := os.ReadFile(precious); string(kept) != "old" || string(state) != "new" {
			t.Errorf("%s: the file holds %q (%v), what was to be kept %q", name, state, err, kept)
		}
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestFreshFails: of a file that could not be written nothing is left, and the one
// before it stays.
func TestFreshFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := NewFresh(file, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := f.Finish(failed); err != failed {
		t.Error(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "old" {
		t.Errorf("it holds %q", text)
	}
	if _, err := os.Lstat(file + ".tmp"); err == nil {
		t.Error("half a file is left")
	}
}

// TestFreshAbove: a link on the way is followed only where others cannot have put it,
// and one that is put there later is not.
func TestFreshAbove(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"open/real", "shut", "target"} {
		if err := os.MkdirAll(in(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(in("open"), 0o777)
	for link, to := range map[string]string{"open/trap": "../target", "shut/admin": "../target"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := NewFresh(in("open/trap/state"), 0o640); err == nil {
		f.Finish(nil)
		t.Error("a trap was followed")
	}
	f, err := NewFresh(in("shut/admin/state"), 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(nil); err != nil {
		t.Error(err)
	}
	if err := os.Remove(in("target/state")); err != nil {
		t.Error(err)
	}
	if f, err = NewFresh(in("open/real/state"), 0o640); err != nil {
		t.Fatal(err)
	}
	os.Rename(in("open/real"), in("open/moved"))
	os.Symlink("../target", in("open/real"))
	if err := f.Finish(nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(in("open/moved/state")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(in("target")); len(left) > 0 {
		t.Errorf("%v", left)
	}
}
