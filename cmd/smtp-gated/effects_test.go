// The list of effects, testdata/effects: which test shows what an option does to
// the running program. This file owns that it is whole and true: an option
// without such a test is not done. go test -v -run TestEffects prints it.

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestEffects: every name that the legacy syntax takes has its line, and every
// line names tests that are there. A story must set the option.
func TestEffects(t *testing.T) {
	text, err := os.ReadFile("testdata/effects")
	if err != nil {
		t.Fatal(err)
	}
	names, tests := spellings(), goTests(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	for line := range strings.Lines(string(text)) {
		name, shown, ok := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case name == "" || name[0] == '#':
			continue
		case !ok:
			t.Errorf("%s: no test shows its effect", name)
			continue
		case !slices.Contains(names, name):
			t.Errorf("%s: no option is called so, or it has a line already", name)
			continue
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		fmt.Fprintf(w, "%s\t%s\n", name, shown)
		for test := range strings.FieldsSeq(shown) {
			if file, ok := strings.CutPrefix(test, "story/"); ok {
				story, err := os.ReadFile(filepath.Join("testdata", file))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if !sets(string(story), name) {
					t.Errorf("%s: %s does not set it", name, test)
				}
			} else if !tests[test] {
				t.Errorf("%s: there is no test %s", name, test)
			}
		}
	}
	for _, name := range names {
		t.Errorf("%s: has no line in testdata/effects", name)
	}
	w.Flush()
	if !t.Failed() {
		t.Logf("\n%s", table.String())
	}
}

// spellings are all names of options, and what else the legacy syntax takes.
func spellings() []string {
	var all []string
	for _, o := range config.Options() {
		all = append(append(all, o.Name), o.Also...)
	}
	return append(all, config.OldForms()...)
}

// sets tells whether a configuration in the story has a line for the option.
func sets(story, name string) bool {
	return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `([ \t]|$)`).MatchString(story)
}

// goTests finds the tests of all packages, as FOLDER.TestName.
func goTests(t *testing.T) map[string]bool {
	const root = "../.."
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				found[filepath.ToSlash(folder)+"."+f.Name.Name] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
