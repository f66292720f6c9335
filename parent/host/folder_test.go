//go:build linux

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommonFolder(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run/clamav", "run/spamd", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"run/clamav/ctl", "run/spamd/sock", "elsewhere/real"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"var": "run", "run/spamd/link": "../../elsewhere/real"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ sockets, root, local string }{
		{"", "", ""},
		{"run/clamav/ctl", "run/clamav", "ctl"},
		{"run/clamav/ctl run/clamav/other", "run/clamav", "ctl other"},
		{"run/clamav/ctl run/spamd/sock", "run", "clamav/ctl spamd/sock"},
		{"run/clamav/ctl run/clamavd/ctl", "run", "clamav/ctl clamavd/ctl"},
		{"var/clamav/ctl run/spamd/sock", "run", "clamav/ctl spamd/sock"},
		{"run/spamd/link", "elsewhere", "real"},
		{"run/spamd/link run/spamd/sock", "", "elsewhere/real run/spamd/sock"},
		{"run/mksd/socket", "run", "mksd/socket"}, // not started yet
	} {
		var sockets []string
		for s := range strings.FieldsSeq(c.sockets) {
			sockets = append(sockets, filepath.Join(top, s))
		}
		root, local := CommonFolder(sockets)
		var names []string
		for _, s := range sockets {
			names = append(names, local[s])
		}
		want := filepath.Join(top, c.root)
		if c.sockets == "" {
			want = ""
		}
		if root != want || strings.Join(names, " ") != c.local {
			t.Errorf("%q: root %s, names %q; want %s, %s", c.sockets, root, names, want, c.local)
		}
	}
	if root, local := CommonFolder([]string{"/a-b-c/ctl", "/x-y-z/sock"}); root != "/" || local["/x-y-z/sock"] != "x-y-z/sock" {
		t.Errorf("root %s, names %v", root, local)
	}
}
