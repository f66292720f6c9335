package main

import (
	"flag"
	"fmt"
	source "go/build"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
)

const module = "github.com/smtp-gated/smtp-gated/"

// roomPackages are the packages that are a process each.
var roomPackages = []string{"parent", "session", "lookupd", "scand", "lockd", "lockd/action", "session/keys"}

type lawRow struct {
	who   string
	words string // what it may import of ours
	is    func(self string) bool
	may   func(self, other string) bool
}

// law is what a package of ours may import of ours, in words and as a rule. The first
// row that knows it counts.
var law = []lawRow{
	{
		"cmd/*", "everything",
		func(self string) bool { return under(self, "cmd") },
		func(_, _ string) bool { return true },
	},
	{
		"imsg, imsg/loop", "nothing",
		func(self string) bool { return self == "imsg" || self == "imsg/loop" },
		func(_, _ string) bool { return false },
	},
	{
		"imsg/logs", "imsg",
		func(self string) bool { return self == "imsg/logs" },
		func(_, other string) bool { return other == "imsg" },
	},
	{
		"imsg/link", "imsg, imsg/loop",
		func(self string) bool { return self == "imsg/link" },
		func(_, other string) bool { return other == "imsg" || other == "imsg/loop" },
	},
	{
		"imsg/process", "imsg, imsg/link, imsg/logs, imsg/loop",
		func(self string) bool { return self == "imsg/process" },
		func(_, other string) bool {
			return slices.Contains([]string{"imsg", "imsg/link", "imsg/logs", "imsg/loop"}, other)
		},
	},
	{
		"imsg/imsgtest", "imsg and what lies in it",
		func(self string) bool { return under(self, "imsg/imsgtest") },
		func(_, other string) bool { return under(other, "imsg") },
	},
	{
		"parent", "imsg, imsg/link, imsg/logs, what lies in parent",
		func(self string) bool { return self == "parent" },
		func(self, other string) bool {
			return leafOf(other, self) || under(other, "imsg") && other != "imsg/process" && !under(other, "imsg/imsgtest")
		},
	},
	{
		"parent/spawn", "imsg, imsg/link, parent/host, parent/sandbox",
		func(self string) bool { return self == "parent/spawn" },
		func(_, other string) bool {
			return other == "imsg" || other == "imsg/link" || other == "parent/host" || other == "parent/sandbox"
		},
	},
	{
		"parent/site", "imsg, imsg/logs, what else lies in parent, but parent/spawn",
		func(self string) bool { return self == "parent/site" },
		func(_, other string) bool {
			return other == "imsg" || other == "imsg/logs" || leafOf(other, "parent") && other != "parent/spawn"
		},
	},
	{
		"a room", "imsg and what lies in it, what lies in the room",
		func(self string) bool { return slices.Contains(roomPackages, self) },
		func(self, other string) bool {
			return leafOf(other, self) || under(other, "imsg") && !under(other, "imsg/imsgtest")
		},
	},
	{
		"lockd/control", "imsg, imsg/link, imsg/logs, lockd/locks, lockd/rates, lockd/counters, lockd/events, lockd/exemptions, lockd/history",
		func(self string) bool { return self == "lockd/control" },
		func(_, other string) bool {
			return slices.Contains([]string{"imsg", "imsg/link", "imsg/logs", "lockd/locks", "lockd/rates", "lockd/counters", "lockd/events", "lockd/exemptions", "lockd/history"}, other)
		},
	},
	{
		"session/relay", "imsg, session/clienthello, session/regex, session/smtp, session/verdict",
		func(self string) bool { return self == "session/relay" },
		func(_, other string) bool {
			return slices.Contains([]string{"imsg", "session/clienthello", "session/regex", "session/smtp", "session/verdict"}, other)
		},
	},
	{
		"session/stream", "imsg/loop",
		func(self string) bool { return self == "session/stream" },
		func(_, other string) bool { return other == "imsg/loop" },
	},
	{
		"what lies in a room", "imsg",
		func(self string) bool { return slices.Contains(roomPackages, top(self)) },
		func(_, other string) bool { return other == "imsg" },
	},
	{
		"etc/firewall, etc/packages, man", "nothing",
		func(self string) bool { return self == "etc/firewall" || self == "etc/packages" || self == "man" },
		func(_, _ string) bool { return false },
	},
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
		if name := d.Name(); name == "testdata" || name == "bin" || name == "vendor" || strings.HasPrefix(name, ".") && name != ".." {
			return fs.SkipDir
		}
		self := filepath.ToSlash(strings.TrimPrefix(dir, "../../"))
		for _, goos := range platforms {
			c := source.Default
			c.GOOS, c.CgoEnabled = goos, false
			p, err := c.ImportDir(dir, 0)
			if err != nil {
				continue
			}
			found++
			at := slices.IndexFunc(law, func(l lawRow) bool { return l.is(self) })
			if at < 0 {
				t.Errorf("no row of law knows %s; a room stands in roomPackages", self)
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

var update = flag.Bool("update", false, "write the lists of what the programs link anew")

// platforms are what the programs are made for.
var platforms = []string{"linux", "openbsd", "freebsd"}

// programNames are the programs.
var programNames = []string{"smtp-gated", "smtp-gatectl", "smtp-gate-helper"}

// TestLinks holds what each program links to the list beside it, links.txt, so that
// a package more is seen in review. Of the standard library only what is imported
// from outside stands there: what it needs itself changes with each Go.
func TestLinks(t *testing.T) {
	for _, program := range programNames {
		on := map[string][]string{} // the platforms that link a package
		for _, goos := range platforms {
			for path := range links(t, program, goos) {
				on[path] = append(on[path], goos)
			}
		}
		var b strings.Builder
		for _, path := range slices.Sorted(maps.Keys(on)) {
			b.WriteString(path)
			if len(on[path]) < len(platforms) {
				fmt.Fprintf(&b, " (%s)", strings.Join(on[path], ", "))
			}
			b.WriteString("\n")
		}
		file := "../" + program + "/links.txt"
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		old, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if d := diff.Diff("cmd/"+program+"/links.txt", old, "linked now", []byte(b.String())); d != nil {
			t.Errorf("go test ./cmd/smtp-gated -run TestLinks -update writes it anew:\n%s", d)
		}
	}
}

// links returns the packages a program links, less what only the standard library
// imports.
func links(t *testing.T, program, goos string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, line := range deps(t, program, goos, "{{if not .Standard}}{{.ImportPath}} {{join .Imports \" \"}}{{end}}") {
		for path := range strings.FieldsSeq(line) {
			all[path] = true
		}
	}
	return all
}

// deps lists everything a program links, in a format of go list.
func deps(t *testing.T, program, goos, format string) []string {
	t.Helper()
	cmd := exec.Command(needProgram(t, "go"), "list", "-deps", "-f", format, "../"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n")
}

// TestUnlinked keeps what no room needs out of the daemon.
func TestUnlinked(t *testing.T) {
	for _, goos := range platforms {
		linked := deps(t, "smtp-gated", goos, "{{.ImportPath}}")
		for _, path := range []string{"net/http", "text/template", "html/template", "encoding/gob", "testing", "github.com/spf13/cobra"} {
			if slices.Contains(linked, path) {
				t.Errorf("the daemon links %s on %s", path, goos)
			}
		}
		if !slices.Contains(linked, module+"imsg") {
			t.Errorf("go list says %q", linked)
		}
	}
}

// TestTLSInTwoRooms: of the rooms, whose program is one, those that have to do with TLS have
// its code in their packages: session and keys. What another room never calls no client can
// reach there.
func TestTLSInTwoRooms(t *testing.T) {
	for _, goos := range platforms {
		for _, room := range []string{"parent", "lookupd", "scand", "lockd", "lockd/action"} {
			for _, path := range []string{"crypto/tls", "crypto/x509"} {
				if slices.Contains(deps(t, "../"+room, goos, "{{.ImportPath}}"), path) {
					t.Errorf("%s links %s on %s", room, path, goos)
				}
			}
		}
		if !slices.Contains(deps(t, "../session", goos, "{{.ImportPath}}"), "crypto/tls") {
			t.Error("session does without TLS: this test looks at something else")
		}
	}
}
