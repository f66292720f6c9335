//go:build linux

package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClosed: what bars the way is named, and groups count.
func TestClosed(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(top)
	if err := errors.Join(os.Chmod(filepath.Dir(top), 0o755), os.Mkdir("run", 0o750), os.Symlink("run", "link"),
		os.WriteFile("run/ctl", nil, 0o644), os.WriteFile("script", nil, 0o755), os.WriteFile("dull", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	gid := os.Getgid()
	for _, c := range []struct {
		who      User
		path, at string
	}{
		{User{UID: 54321, GID: 54321}, "run/ctl", "run"},
		{User{UID: 54321, GID: 54321}, "link/ctl", "run"},
		{User{UID: 54321, GID: gid}, "run/ctl", ""},
		{User{UID: 54321, GID: 54321, Groups: []int{7, gid}}, "run/ctl", ""},
		{User{UID: os.Getuid(), GID: 54321}, "link/ctl", ""},
		{User{UID: 54321, GID: 54321}, "script", ""},
		{User{UID: 54321, GID: 54321}, "dull", "dull"},
		{User{UID: os.Getuid(), GID: gid}, "run/none", "run/none"},
	} {
		at, err := c.who.Closed("/", filepath.Join(top, c.path), 0o1)
		if strings.HasSuffix(c.path, "ctl") {
			at, err = c.who.Closed("/", filepath.Join(top, filepath.Dir(c.path)), 0o1)
		}
		want := ""
		if c.at != "" {
			want = filepath.Join(top, c.at)
		}
		if at != want || (err == nil) != (want == "") {
			t.Errorf("%+v at %s: %s, %v; want %q", c.who, c.path, at, err, want)
		}
	}
}
