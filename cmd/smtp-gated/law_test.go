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

// TestImportLaw holds who may know whom: every room may import imsg, which knows
// no room; rooms do not know each other, but for the libraries in their own
// folders; only commands know rooms.
func TestImportLaw(t *testing.T) {
	house := func(path string) string { // the room a package belongs to
		top, _, _ := strings.Cut(path, "/")
		if strings.HasPrefix(path, "lockd/action") {
			top = "lockd/action"
		}
		return top
	}
	found := 0
	err := filepath.WalkDir("../..", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") && name != ".." {
			return fs.SkipDir
		}
		for _, goos := range []string{"linux", "openbsd", "freebsd"} {
			c := source.Default
			c.GOOS, c.CgoEnabled = goos, false
			p, err := c.ImportDir(dir, 0)
			if err != nil {
				continue
			}
			self := filepath.ToSlash(strings.TrimPrefix(dir, "../../"))
			from := house(self)
			found++
			for _, path := range p.Imports {
				to, ours := strings.CutPrefix(path, module)
				if !ours || from == "cmd" || house(to) == from || to == "imsg" && from != "imsg" {
					continue
				}
				t.Errorf("%s imports %s on %s", self, to, goos)
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
