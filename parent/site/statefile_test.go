package site

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestStateFileTraps: whatever lies in the state file's place, or in that of the one
// before it is complete, is replaced and not written to.
func TestStateFileTraps(t *testing.T) {
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
		c := config.Default()
		c.StateFile = filepath.Join(dir, "state")
		for _, path := range []string{c.StateFile, c.StateFile + ".tmp"} {
			if err := lay(path, precious); err != nil {
				t.Fatal(err)
			}
		}
		f, err := (&Site{Config: c}).NewStateFile()
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("new")
		if err := f.Finish(nil); err != nil {
			t.Error(err)
		}
		state, err := os.ReadFile(c.StateFile)
		if kept, _ := os.ReadFile(precious); string(kept) != "old" || string(state) != "new" {
			t.Errorf("%s: the state file holds %q (%v), what was to be kept %q", name, state, err, kept)
		}
		if info, err := os.Lstat(c.StateFile); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}
