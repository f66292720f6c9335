//go:build linux

package host

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFindTraps: who asks is not held up by a pipe, nor led elsewhere.
func TestFindTraps(t *testing.T) {
	dir := t.TempDir()
	mine := []byte(strconv.Itoa(os.Getpid()) + "\n")
	for name, file := range map[string]string{"a": dir + "/a", "b": dir + "/b.lock"} {
		if err := errors.Join(unix.Mkfifo(file, 0o666), os.WriteFile(dir+"/b", mine, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := FindDaemon(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was believed", file)
		}
	}
	// A lock that somebody else holds, under two names.
	f, err := os.Create(dir + "/theirs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(os.WriteFile(dir+"/c", mine, 0o644), os.Link(dir+"/theirs", dir+"/c.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := FindDaemon(dir + "/c"); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("another file's lock was believed: %v", err)
	}
}
