//go:build linux

package socket

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openControl(t *testing.T, path string, gid int) (*Control, error) {
	t.Helper()
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	return OpenControl(folder, filepath.Base(path), gid, 0o604)
}

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	open := func() (*Control, error) { return openControl(t, path, -1) }
	f, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "another daemon listens there") {
		t.Errorf("a socket that is served was taken: %v", err)
	}
	f.File.Close()
	if f, err = open(); err != nil {
		t.Fatalf("a socket nobody serves is in the way: %v", err)
	}
	f.Remove()
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Remove()
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a plain file was taken: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Error("a plain file was removed")
	}
}

// TestMendControl: shut down, the socket is made anew; served, it stays.
func TestMendControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	c, err := openControl(t, path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	if mended, err := c.Mend(); mended || err != nil {
		t.Errorf("where nothing is wrong: mended %v, %v", mended, err)
	}
	if err := using(c.File, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }); err != nil {
		t.Fatal(err)
	}
	if mended, err := c.Mend(); !mended || err != nil {
		t.Errorf("shut down: mended %v, %v", mended, err)
	}
	if err := probeControl(path); err != nil {
		t.Errorf("it does not listen: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	c.Remove()
	if mended, err := c.Mend(); mended || err != nil {
		t.Errorf("once removed: mended %v, %v", mended, err)
	}
}
