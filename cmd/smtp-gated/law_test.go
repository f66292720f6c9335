package main

import (
	source "go/build"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/smtp-gated/smtp-gated/"

// roomPackages are the packages that are a process each.
var roomPackages = []string{"parent", "session", "lookupd", "scand", "lockd", "lockd/action"}

type lawRow struct {
	who   string
	words string // what it may import of ours
	is    func(self string) bool
	may   func(self, other string) bool
}

// law is what a package of ours may import of ours, in words and as a rule. The first
// row that knows it counts.
var law = []lawRow{
	{"cmd/*", "everything",
		func(self string) bool { return under(self, "cmd") },
		func(_, _ string) bool { return true }},
	{"imsg", "nothing",
		func(self string) bool { return self == "imsg" },
		func(_, _ string) bool { return false }},
	{"imsg/link, imsg/logs", "imsg",
		func(self string) bool { return self == "imsg/link" || self == "imsg/logs" },
		func(_, other string) bool { return other == "imsg" }},
	{"imsg/process", "imsg, imsg/link, imsg/logs",
		func(self string) bool { return self == "imsg/process" },
		func(_, other string) bool { return other == "imsg" || other == "imsg/link" || other == "imsg/logs" }},
	{"imsg/imsgtest", "imsg and what lies in it",
		func(self string) bool { return under(self, "imsg/imsgtest") },
		func(_, other string) bool { return under(other, "imsg") }},
	{"parent", "imsg, imsg/link, imsg/logs, what lies in parent",
		func(self string) bool { return self == "parent" },
		func(self, other string) bool {
			return leafOf(other, self) || under(other, "imsg") && other != "imsg/process" && !under(other, "imsg/imsgtest")
		}},
	{"a room", "imsg and what lies in it, what lies in the room",
		func(self string) bool { return slices.Contains(roomPackages, self) },
		func(self, other string) bool {
			return leafOf(other, self) || under(other, "imsg") && !under(other, "imsg/imsgtest")
		}},
	{"what lies in a room", "imsg",
		func(self string) bool { return slices.Contains(roomPackages, top(self)) },
		func(_, other string) bool { return other == "imsg" }},
	{"man", "nothing",
		func(self string) bool { return self == "man" },
		func(_, _ string) bool { return false }},
}

func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// leafOf tells whether a package is a library of a room's.
func leafOf(path, room string) bool {
	return under(path, room) && path != room && !slices.Contains(roomPackages, path)
}

// TestImportLaw holds who may know whom. -v prints it.
func TestImportLaw(t *testing.T) {
	for _, l := range law {
		t.Logf("%-28s may import %s", l.who, l.words)
	}
	found := 0
	err := filepath.WalkDir("../..", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") && name != ".." {
			return fs.SkipDir
		}
		self := filepath.ToSlash(strings.TrimPrefix(dir, "../../"))
		for _, goos := range []string{"linux", "openbsd", "freebsd"} {
			c := source.Default
			c.GOOS, c.CgoEnabled = goos, false
			p, err := c.ImportDir(dir, 0)
			if err != nil {
				continue
			}
			found++
			at := slices.IndexFunc(law, func(l lawRow) bool { return l.is(self) })
			if at < 0 {
				t.Errorf("no law knows %s", self)
				continue
			}
			for _, path := range p.Imports {
				if other, ours := strings.CutPrefix(path, module); ours && !law[at].may(self, other) {
					t.Errorf("%s imports %s on %s: %s may import %s", self, other, goos, law[at].who, law[at].words)
				}
			}
		}
		return nil
	})
	if err != nil || found < 20 {
		t.Errorf("%d packages looked at, %v", found, err)
	}
}

// TestLinks keeps what no room needs out of the daemon.
func TestLinks(t *testing.T) {
	all, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(all))
	for _, path := range []string{"net/http", "crypto/tls", "text/template", "html/template", "encoding/gob", "testing", "github.com/spf13/cobra"} {
		if slices.Contains(linked, path) {
			t.Errorf("the daemon links %s", path)
		}
	}
	if !slices.Contains(linked, module+"imsg") {
		t.Errorf("go list says %q", linked)
	}
}
