//go:build linux

package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// writers are all that root writes by a name.
func writers() map[string]func(path string) error {
	return map[string]func(path string) error{
		"pid file": func(path string) error {
			p, err := LockPidFile(path)
			if err == nil {
				err = p.Write()
				p.Remove()
			}
			return err
		},
		"private file": func(path string) error { _, err := OpenPrivate(path); return err },
		"fresh file": func(path string) error {
			f, err := NewFresh(path, 0o600)
			if err == nil {
				err = f.Finish(nil)
			}
			return err
		},
		"log":    func(path string) error { _, err := openLog(path, makeWary); return err },
		"place":  func(path string) error { _, err := OpenPlace(path); return err },
		"way":    func(path string) error { return MakeWay(path + "/more/file") },
		"folder": func(path string) error { return Folder{Path: path, Mode: 0o750}.Make(NoUser) },
	}
}

// TestNobodyLeadsUs: whatever root writes by a name goes where no other user can lead it
// by a link above the name; a folder that is somebody else's own is no such thing.
func TestNobodyLeadsUs(t *testing.T) {
	for what, write := range writers() {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"open/run", "shut/run", "theirs", "target"} {
				if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			err := errors.Join(os.Chmod(dir+"/open", 0o777), os.Symlink("../target", dir+"/open/trap"), os.Symlink("../target", dir+"/shut/link"))
			if os.Geteuid() == 0 {
				err = errors.Join(err, os.Symlink("../target", dir+"/theirs/trap"), os.Chown(dir+"/theirs", 65534, 65534))
			}
			if err != nil {
				t.Fatal(err)
			}
			for folder, led := range map[string]bool{"open/trap": true, "open/run": false, "shut/run": false, "shut/link": false, "theirs": false, "theirs/trap": true} {
				if os.Geteuid() != 0 && folder == "theirs/trap" {
					continue
				}
				if err := write(filepath.Join(dir, folder, "name")); (err != nil) != led {
					t.Errorf("in %s: %v", folder, err)
				}
				if found, _ := os.ReadDir(dir + "/target"); led && len(found) > 0 {
					t.Errorf("in %s: %v was written", folder, found)
				}
				os.RemoveAll(dir + "/target")
				os.Mkdir(dir+"/target", 0o755)
			}
		})
	}
}

// TestUnmake: what is taken away is the file that was made, wherever its folder is called to
// by now, and nothing that has taken its name.
func TestUnmake(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/a", 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPlace(dir + "/a/file")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Folder.Close()
	f, err := p.Make(os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := p.Make(os.O_WRONLY, 0o600); !errors.Is(err, unix.EEXIST) {
		t.Errorf("made again: %v", err)
	}
	// Another folder takes the place of ours, with another file of the name.
	err = errors.Join(os.Rename(dir+"/a", dir+"/b"), os.Mkdir(dir+"/a", 0o755), os.WriteFile(dir+"/a/file", nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Unmake(f); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir + "/b/file"); err == nil {
		t.Error("ours is there")
	}
	// Another file takes the place of ours.
	if err := os.WriteFile(dir+"/b/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Unmake(f); err == nil {
		t.Error("it says nothing")
	}
	for _, name := range []string{"/a/file", "/b/file"} {
		if _, err := os.Lstat(dir + name); err != nil {
			t.Error(err)
		}
	}
}

// TestMakeWay: what is missing is made, as a user may have it who is not us.
func TestMakeWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a/b/../c/file")
	if err := MakeWay(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode() != fs.ModeDir|0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the name itself: %v", err)
	}
}
