package site

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestHandExemptions: the file is made beside the lock directory, for us alone, and is the
// same the next time; what is none, or others can open, is not handed over.
func TestHandExemptions(t *testing.T) {
	var said imsgtest.Journal
	s := &Site{Config: config.Default(), Log: &Log{Logger: slog.New(slog.NewTextHandler(&said, nil))}}
	dir := t.TempDir()
	path := filepath.Join(dir, "lock.exempt")
	handed := func() (info fs.FileInfo) {
		s.HandExemptions(func(m imsg.Notice, files ...*os.File) {
			if _, ok := m.(*imsg.ExemptFile); !ok || len(files) != 1 {
				t.Fatalf("%T, %d files", m, len(files))
			}
			var err error
			if info, err = files[0].Stat(); err != nil {
				t.Error(err)
			}
		})
		return info
	}
	var last fs.FileInfo
	for _, lockPath := range []string{dir + "/lock", dir + "/lock/"} { // no file of the directory's own
		s.LockPath = lockPath
		info := handed()
		there, err := os.Lstat(path)
		if err != nil || info == nil || !os.SameFile(info, there) || info.Mode() != 0o600 || last != nil && !os.SameFile(info, last) {
			t.Fatalf("%s: %v, %v, %v", lockPath, info, there, err)
		}
		last = info
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if info := handed(); info == nil || info.Mode() != 0o600 {
		t.Errorf("%v", info)
	}
	said.HasNot(t, "level=")
	s.ChrootPath, s.LockPath = dir, "/lock"
	if info := handed(); info == nil || !os.SameFile(info, last) {
		t.Errorf("behind chroot_path it is %v", info)
	}
	s.ChrootPath = ""
	original := path
	for name, spoil := range map[string]func(path string) error{
		"another name": func(path string) error { return os.Link(original, path) },
		"a link":       func(path string) error { return os.Symlink("elsewhere", path) },
		"a directory":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s.LockPath = filepath.Join(t.TempDir(), "lock")
		if err := spoil(s.LockPath + ".exempt"); err != nil {
			t.Fatal(err)
		}
		said := new(imsgtest.Journal)
		s.Log = &Log{Logger: slog.New(slog.NewTextHandler(said, nil))}
		if info := handed(); info != nil {
			t.Errorf("%s: %v", name, info)
		}
		said.Has(t, "exemptions will be forgotten: their file cannot be opened")
	}
}
