// What is written for people about the code: README.md, DESIGN.md, CONTRIBUTING.md,
// PACKAGING.md, SECURITY.md. This file owns that the tables in them are those of the code, and that
// the files, names and tests they speak of are there.

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

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

var documents = []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "PACKAGING.md", "SECURITY.md"}

// TestDocuments: DESIGN.md shows the import law as it is. -update writes it.
func TestDocuments(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "package\tmay import, of ours")
	for _, l := range law {
		fmt.Fprintf(w, "%s\t%s\n", l.who, l.words)
	}
	w.Flush()
	imsgtest.Part(t, "../../DESIGN.md", "law", imsgtest.Block(b.String()), *update)
}

var (
	quoted     = regexp.MustCompile("`([^`\n]+)`(?:\\s+\\(`([^`\n]+)`\\))?")
	testName   = regexp.MustCompile(`^([a-z/-]+)\.(Test\w+)$`)
	ourFolders = regexp.MustCompile(`^(cmd|parent|session|lookupd|scand|lockd|imsg|etc|man|\.ci)(/|$)`)
)

// TestPlaces: every file the documents name is there and has the name that stands
// beside it, and so has every test.
func TestPlaces(t *testing.T) {
	tests, found := goTests(t), 0
	for _, name := range documents {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			place, ident := m[1], m[2]
			switch {
			case testName.MatchString(place):
				if !tests[place] {
					t.Errorf("%s: there is no test %s", name, place)
				}
			case !ourFolders.MatchString(place) || strings.ContainsAny(place, "* "):
				continue
			case ident != "":
				code, err := os.ReadFile("../../" + place)
				if err != nil || !regexp.MustCompile(`\b`+ident+`\b`).Match(code) {
					t.Errorf("%s: %s has no %s: %v", name, place, ident, err)
				}
			default:
				if _, err := os.Stat("../../" + place); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			found++
		}
	}
	if found < 40 {
		t.Errorf("only %d places are named", found)
	}
}

// TestRooms: a room that has a name is started by the parent and knows how to live,
// and people are told of it and of its user.
func TestRooms(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../man/smtp-gated.8")
	if err != nil {
		t.Fatal(err)
	}
	design, err := os.ReadFile("../../DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range imsg.Children() {
		user := config.Default().User(r)
		if user == "" {
			t.Errorf("%s has no user", r)
		}
		// There is the parent's table, row by row.
		if !strings.Contains(string(design), "\n    "+r.String()+" ") {
			t.Errorf("the table of rooms in DESIGN.md, which go test ./parent -run TestRooms -update writes, has no %q", r)
		}
		if rooms[r] == nil {
			t.Errorf("%s cannot be started with -x", r)
		}
		if !strings.Contains(string(readme), "| "+r.String()+" | "+user+" |") {
			t.Errorf("README.md says nothing of %s, user %s", r, user)
		}
		if !strings.Contains(string(manual), ".It "+r.String()+"\n") || !strings.Contains(string(manual), ".Dq "+user) {
			t.Errorf("smtp-gated.8 says nothing of %s, user %s", r, user)
		}
	}
}

// folders are where a room's code lies. What imsg/process says and hears it does for
// every room.
var folders = map[imsg.Room]string{
	imsg.Parent: "parent", imsg.Session: "session", imsg.Lookupd: "lookupd", imsg.Scand: "scand",
	imsg.Lockd: "lockd", imsg.Action: "lockd/action", imsg.Keys: "session/keys", imsg.Control: "cmd/smtp-gatectl", imsg.Reader: "cmd/smtp-gatectl",
}

// TestSpoken: what may be said is said, and what may be heard is heard. What every
// room says or hears imsg/process may do for it, an answer is heard by who asked, and
// what gives something back the link itself says.
func TestSpoken(t *testing.T) {
	inAll := sourceOf(t, "imsg/link") + sourceOf(t, "imsg/logs") + sourceOf(t, "imsg/process")
	code := map[imsg.Room]string{}
	for r := imsg.Parent; r <= imsg.Reader; r++ {
		if folders[r] == "" {
			t.Fatalf("folders does not say where the code of %s lies", r)
		}
		code[r] = inAll + sourceOf(t, folders[r])
	}
	for i := range imsg.Table {
		e := &imsg.Table[i]
		word := regexp.MustCompile(`\bimsg\.` + e.Name + `\b`)
		known := func(rooms imsg.Rooms) bool {
			for r := imsg.Parent; r <= imsg.Reader; r++ {
				if rooms.Has(r) && word.MatchString(code[r]) {
					return true
				}
			}
			return false
		}
		if !e.Gives && !known(e.From) {
			t.Errorf("%s: nothing in %s says it", e.Name, e.From)
		}
		if e.Way != imsg.Answer && !only(e) && !known(e.To) {
			t.Errorf("%s: nothing in %s hears it", e.Name, e.To)
		}
	}
}

// only tells whether nothing else can come from where e comes from: it needs no name
// there.
func only(e *imsg.Entry) bool {
	for i := range imsg.Table {
		if o := &imsg.Table[i]; o != e && o.Way != imsg.Answer && o.From == e.From && o.To == e.To {
			return false
		}
	}
	return true
}

// sourceOf is the code of a folder and what lies in it, but for tests and for other
// rooms.
func sourceOf(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir("../../"+folder, func(path string, d fs.DirEntry, err error) error {
		self := filepath.ToSlash(strings.TrimPrefix(path, "../../"))
		switch {
		case err != nil:
			return err
		case d.IsDir() && self != folder && slices.Contains(roomPackages, self):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(path)
		b.Write(code)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCounted: a counter that is shown is counted somewhere.
func TestCounted(t *testing.T) {
	code := sourceOf(t, "session") + sourceOf(t, "lockd")
	file, err := parser.ParseFile(token.NewFileSet(), "../../imsg/counters.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if name, ok := pair.Key.(*ast.Ident); ok && strings.HasPrefix(name.Name, "Count") {
			called := name.Name
			for _, block := range []string{"CountWould", "CountEngine", "CountQuota", "CountLock", "CountDNS"} {
				if strings.HasPrefix(called, block) { // each by what it is the counter of
					called = block
				}
			}
			switch {
			case strings.HasPrefix(called, "CountSPF") && called != "CountSPF":
				called = "CountDNS"
			case strings.HasPrefix(called, "CountUnscanned") && called != "CountUnscanned":
				called = "CountUnscannedFor"
			}
			if !regexp.MustCompile(`\bimsg\.` + called + `\b`).MatchString(code) {
				t.Errorf("%s is never counted", name.Name)
			}
			found++
		}
		return false
	})
	if found != int(imsg.Counters) {
		t.Errorf("%d counters found of %d", found, imsg.Counters)
	}
}
