// That the manual page speaks of everything there is.

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual: every command has its entry in smtp-gatectl.8, and so has every flag,
// in the manner of mdoc(7).
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../man/smtp-gatectl.8")
	if err != nil {
		t.Fatal(err)
	}
	text, found := string(page), 0
	var look func(c *cobra.Command, name string)
	look = func(c *cobra.Command, name string) {
		below := c.Commands()
		for _, sub := range below {
			look(sub, strings.TrimSpace(name+" "+sub.Name()))
		}
		entry := ".It Ic " + name
		if len(below) == 0 {
			found++
			if !strings.Contains(text, entry+"\n") && !strings.Contains(text, entry+" ") {
				t.Errorf("smtp-gatectl.8 has no entry for %q", name)
			}
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(text, "Fl -"+f.Name) {
				t.Errorf("smtp-gatectl.8 says nothing of --%s of %q", f.Name, name)
			}
		})
	}
	root := new(tool).command()
	look(root, "")
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, ".It Fl -"+f.Name) {
			t.Errorf("smtp-gatectl.8 has no entry for --%s", f.Name)
		}
	})
	if found < 12 {
		t.Errorf("only %d commands found", found)
	}
}

// TestReadSocketManual: each command that connects by look, which takes the read socket, too,
// is named where the manual says which do.
func TestReadSocketManual(t *testing.T) {
	page, err := os.ReadFile("../../man/smtp-gatectl.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "is led to the read socket\n")
	section, _, _ = strings.Cut(section, ".Pp\n")
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	looks := func(file, command string, does bool) {
		if !does || command == "" || command == "remove" || command == "upgrade" { // these give orders, too
			return
		}
		if found++; !regexp.MustCompile(`(?m)^\.Ic ([a-z]+ )?` + command + `( [,.])?$`).MatchString(section) {
			t.Errorf("the manual does not say that %s of %s does with the read socket", command, file)
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		// The last command that begins before a look is the one that looks.
		command := ""
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				key, isName := n.Key.(*ast.Ident)
				value, isText := n.Value.(*ast.BasicLit)
				if isName && isText && key.Name == "Use" {
					command, _, _ = strings.Cut(strings.Trim(value.Value, "\"`"), " ")
				}
			case *ast.SelectorExpr:
				of, isName := n.X.(*ast.Ident)
				looks(file, command, isName && of.Name == "t" && n.Sel.Name == "look")
			case *ast.CallExpr: // what shows a list looks
				of, isName := n.Fun.(*ast.Ident)
				if isName && of.Name == "show" {
					by, isTool := n.Args[0].(*ast.Ident)
					looks(file, command, isTool && by.Name == "t")
				}
			}
			return true
		})
	}
	if found < 14 {
		t.Errorf("only %d commands look", found)
	}
}

// TestExitStatus: the manual explains each exit status there is and no other, and has a row
// for each command; a status that is named in it is one.
func TestExitStatus(t *testing.T) {
	page, err := os.ReadFile("../../man/smtp-gatectl.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), ".Sh EXIT STATUS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	all := exitConstants(t)
	explained := map[string]bool{}
	rows := map[string]bool{}
	for line := range strings.Lines(section) {
		item, is := strings.CutPrefix(strings.TrimSpace(line), ".It ")
		if !is {
			continue
		}
		command, meanings, row := strings.Cut(strings.TrimPrefix(item, "Ic "), " Ta ")
		if !row {
			explained[item] = true
			continue
		}
		if strings.HasPrefix(command, "Sy ") { // the head of the table
			continue
		}
		rows[strings.Replace(command, "Fl -", "--", 1)] = true
		for part := range strings.SplitSeq(meanings, "; ") {
			if n, _, _ := strings.Cut(part, " "); n != "-" && !slices.Contains(slices.Collect(maps.Values(all)), n) {
				t.Errorf("%s ends with %s", command, n)
			}
		}
	}
	for name, value := range all {
		if !explained[value] {
			t.Errorf("exit status %s, %s, is not explained", value, name)
		}
		delete(explained, value)
	}
	if len(explained) > 0 || len(all) < 5 {
		t.Errorf("there is no exit status %v", explained)
	}
	var look func(c *cobra.Command, name string)
	look = func(c *cobra.Command, name string) {
		for _, sub := range c.Commands() {
			look(sub, strings.TrimSpace(name+" "+sub.Name()))
		}
		if !c.HasSubCommands() && !rows[name] {
			t.Errorf("what %q ends with is not said", name)
		}
		if c.HasSubCommands() || c.Flags().Lookup("check") == nil {
			delete(rows, name)
		}
	}
	look(new(tool).command(), "")
	for _, name := range []string{"status", "status --check", "completion"} {
		if !rows[name] {
			t.Errorf("what %q ends with is not said", name)
		}
		delete(rows, name)
	}
	if len(rows) > 0 {
		t.Errorf("no such commands: %v", rows)
	}
}

// exitConstants are those of main.go, by their names.
func exitConstants(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "exit") && len(spec.Values) == 1 {
			if v, ok := spec.Values[0].(*ast.BasicLit); ok {
				all[spec.Names[0].Name] = v.Value
			}
		}
		return true
	})
	return all
}
