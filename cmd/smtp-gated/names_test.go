// How options are named to people. This file owns that no text of the programs names one
// but by a mark, which is spelled as the reader's file has it, and that all pages, but
// those of the old syntax, name options as TOML does.

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

// oldNames are those of options that no file in TOML has, but for plain words.
func oldNames() map[string]string {
	old := map[string]string{}
	for _, o := range config.Options() {
		for _, name := range append([]string{o.Name}, o.Also...) {
			plain := !strings.Contains(name, "_") && !slices.Contains([]string{"pidfile", "statefile", "earlytalker"}, name)
			if key := o.Path[strings.LastIndexByte(o.Path, '.')+1:]; !plain && name != key {
				old[name] = o.Path
			}
		}
	}
	return old
}

var (
	optionWord = regexp.MustCompile(`[{$a-z0-9_.]*[a-z0-9_]+[}(=]?`)
	marks      = regexp.MustCompile(`\{([a-z0-9_]+)\}`)
)

// TestMarks: what a text of the programs calls an option is a mark that is known. A
// literal of one word is a name alone, for who asks what the file calls it.
func TestMarks(t *testing.T) {
	old, found := oldNames(), 0
	known := map[string]bool{"yes": true, "no": true}
	for _, o := range config.Options() {
		known[o.Name] = true
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || d.Name() == "renamed.go" {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			text := ""
			switch n := n.(type) {
			case *ast.Field: // of a tag what is for people
				if n.Tag != nil {
					tag, _ := strconv.Unquote(n.Tag.Value)
					text = reflect.StructTag(tag).Get("help") + " "
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && n.Value[0] == '"' {
					text, _ = strconv.Unquote(n.Value)
				}
			}
			if !strings.Contains(text, " ") {
				return true
			}
			for _, word := range optionWord.FindAllString(text, -1) {
				if path, is := old[word]; is {
					t.Errorf("%s: %q: write {%s}, or %s where no file is known", fset.Position(n.Pos()), text, word, path)
				}
			}
			for _, mark := range marks.FindAllStringSubmatch(text, -1) {
				if found++; !known[mark[1]] {
					t.Errorf("%s: %q: there is no option %s", fset.Position(n.Pos()), text, mark[1])
				}
			}
			return true
		})
		return nil
	})
	if err != nil || found < 80 {
		t.Errorf("%d marks were found: %v", found, err)
	}
}

// TestPages: what is written for everybody names options as TOML does.
func TestPages(t *testing.T) {
	old := oldNames()
	pages := slices.Clone(documents)
	for _, pattern := range []string{"man/*.[578]", "etc/*.toml", "etc/*/*", "etc/*/*/*"} {
		found, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			pages = append(pages, strings.TrimPrefix(path, "../../"))
		}
	}
	for _, page := range pages {
		if page == "man/smtp-gated.conf.5" || page == "man/smtp-gated-migration.7" {
			continue
		}
		text, err := os.ReadFile("../../" + page)
		if info, serr := os.Stat("../../" + page); serr == nil && info.IsDir() {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		before, number := "", 0
		for line := range strings.Lines(string(text)) {
			number++
			for _, word := range optionWord.FindAllString(line, -1) {
				path, is := old[word]
				switch {
				case !is, before == "In the old syntax\n", strings.Contains(line, "in the old syntax"):
				case strings.HasPrefix(line, ".It Cm "): // of a counter, or a field of the state file
				case line == ".It Ic "+word+"\n", strings.HasPrefix(line, "#"+word+" = "): // a key in TOML, such as messages.size_limit
				default:
					t.Errorf("%s:%d: %s is %s in TOML", page, number, word, path)
				}
			}
			before = line
		}
	}
}
