// Which lines the daemon logs, as its sources say. This file owns the walk over them.

package man

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms are the folders whose code runs in a room. What parent/site/look.go warns of is
// logged as the configuration's warnings are.
var rooms = []string{"session", "lookupd", "scand", "lockd", "parent", "imsg", "cmd/smtp-gated"}

// levels are the names of functions that log, with their level; it is empty where an
// argument before the text says it.
var levels = map[string]string{
	"Debug": "debug", "Info": "info", "Warn": "warning", "Error": "err",
	"Log": "", "Say": "",
	// These hand their text on.
	"debug": "debug", "info": "info", "warn": "warning", "fault": "err", "always": "always", "Always": "always", "expel": "err",
}

// logged maps each line the daemon logs to the levels it has. What is no constant is an
// asterisk in it; a line that is none at all has the name of the function that logs it.
func logged(t *testing.T) map[string][]string {
	t.Helper()
	lines := map[string][]string{}
	fset := token.NewFileSet()
	add := func(level string, texts []string) {
		for _, text := range texts {
			if !slices.Contains(lines[text], level) {
				lines[text] = append(lines[text], level)
			}
		}
	}
	for _, dir := range rooms {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, e fs.DirEntry, err error) error {
			base := filepath.Base(path)
			if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "liar") || base == "look.go" {
				return err
			}
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil {
					continue
				}
				ast.Inspect(fn, func(n ast.Node) bool {
					level, text := logging(n)
					if text == nil || handedOn(fn, text) {
						return true
					}
					if all := texts(fn, text); all[0] != "*" {
						add(level, all)
					} else {
						add(level, []string{fn.Name.Name + "()"})
					}
					return true
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// logging tells what a node logs, if it does: a call with the text behind the context and
// the level, or a record made by hand.
func logging(n ast.Node) (level string, text ast.Expr) {
	switch n := n.(type) {
	case *ast.CallExpr:
		called, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return "", nil
		}
		level, ok := levels[called.Sel.Name]
		if !ok {
			return "", nil
		}
		for _, arg := range n.Args {
			switch said := levelOf(arg); {
			case said != "":
				level = said
			case level != "":
				return level, arg
			case called.Sel.Name == "Say":
				return "info", arg // of a lock
			case !isContext(arg):
				return "", nil // no level: it logs nothing
			}
		}
	case *ast.CompositeLit:
		if name, ok := n.Type.(*ast.Ident); !ok || name.Name != "record" {
			return "", nil
		}
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				switch kv.Key.(*ast.Ident).Name {
				case "level":
					level = levelOf(kv.Value)
				case "text":
					text = kv.Value
				}
			}
		}
		if _, made := text.(*ast.BasicLit); !made {
			return "", nil
		}
	}
	return level, text
}

// levelOf is the level that an expression names, as in slog.LevelInfo.
func levelOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		name, ok := strings.CutPrefix(e.Sel.Name, "Level")
		if !ok {
			return ""
		}
		return map[string]string{"Warn": "warning", "Error": "err"}[name] + map[bool]string{true: strings.ToLower(name)}[name != "Warn" && name != "Error"]
	case *ast.BinaryExpr:
		return levelOf(e.X)
	case *ast.Ident:
		if e.Name == "level" {
			return "any"
		}
	}
	return ""
}

func isContext(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Background"
}

// handedOn tells whether a text is a parameter of the function that logs it: then its
// callers have the text.
func handedOn(fn *ast.FuncDecl, text ast.Expr) bool {
	id, ok := text.(*ast.Ident)
	if !ok {
		return false
	}
	for _, p := range fn.Type.Params.List {
		for _, n := range p.Names {
			if n.Name == id.Name {
				return true
			}
		}
	}
	return false
}

// texts are what an expression in a function may come to.
func texts(fn *ast.FuncDecl, e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err == nil {
			return []string{s}
		}
	case *ast.BinaryExpr:
		var all []string
		for _, x := range texts(fn, e.X) {
			for _, y := range texts(fn, e.Y) {
				all = append(all, strings.ReplaceAll(x+y, "**", "*"))
			}
		}
		return all
	case *ast.Ident:
		if all := assigned(fn, e.Name); len(all) > 0 {
			return all
		}
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.Ident); ok && f.Name == "withComma" {
			return texts(fn, e.Args[0])
		}
	}
	return []string{"*"}
}

// assigned are the texts that a function assigns to a variable.
func assigned(fn *ast.FuncDecl, name string) (all []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		as, ok := n.(*ast.AssignStmt)
		if !ok || len(as.Lhs) != len(as.Rhs) || as.Tok == token.ADD_ASSIGN {
			return true
		}
		for i, l := range as.Lhs {
			id, ok := l.(*ast.Ident)
			if !ok || id.Name != name {
				continue
			}
			switch as.Rhs[i].(type) {
			case *ast.BasicLit, *ast.BinaryExpr:
				for _, s := range texts(fn, as.Rhs[i]) {
					if s != "" && !slices.Contains(all, s) {
						all = append(all, s)
					}
				}
			}
		}
		return true
	})
	return all
}

// TestLog: the manual explains each line that the daemon logs, and no other.
func TestLog(t *testing.T) {
	lines := logged(t)
	var b strings.Builder
	for _, g := range logTable {
		b.WriteString(".Ss " + g.title + "\n.Bl -tag -width Ds\n")
		for _, l := range g.lines {
			at := lines[l.text]
			if at == nil {
				t.Errorf("nothing logs %q", l.text)
			}
			delete(lines, l.text)
			shown := l.shown
			if shown == "" {
				shown = strings.TrimSuffix(strings.ReplaceAll(l.text, "*", "..."), ":")
			}
			slices.Sort(at)
			fmt.Fprintf(&b, ".It Li \"%s\" Pq %s\n%s", roff(shown), strings.Join(at, ", "), wrap(l.help))
		}
		b.WriteString(".El\n")
	}
	for text := range lines {
		t.Errorf("logTable does not explain %q", text)
	}
	generated(t, "smtp-gated.8", "Lines of the log", b.String())
}
