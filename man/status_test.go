// What status and sessions show, as the sources of smtp-gatectl say.

package man

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestStatus: the manual explains each field of status and of sessions.
func TestStatus(t *testing.T) {
	shown := printed(t)
	var status strings.Builder
	for _, f := range shown["status"] {
		status.WriteString(f.entry())
		var of string
		switch f.name {
		case "findings":
			of = "finding"
		case "rooms":
			of = "room"
		case "times":
			of = "times"
		case "dns_lists":
			of = "dnsList"
		case "counters":
			status.WriteString(".Bl -tag -width Ds -compact\n")
			for _, c := range imsg.CounterTable {
				status.WriteString(".It Cm " + c.Name + "\n" + wrap(c.Help))
			}
			status.WriteString(".El\n")
		}
		if of != "" {
			status.WriteString(".Bl -tag -width Ds -compact\n" + entries(shown[of]) + ".El\n")
		}
	}
	generated(t, "smtp-gated.8", "Fields of status", ".Bl -tag -width Ds\n"+status.String()+".El\n")
	generated(t, "smtp-gated.8", "Fields of a session", ".Bl -tag -width Ds -compact\n"+entries(shown["session"])+".El\n")
}

// shownField is a field of what smtp-gatectl prints.
type shownField struct{ name, help string }

func (f shownField) entry() string { return ".It Cm " + f.name + "\n" + wrap(sentence(f.help)) }

func entries(all []shownField) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.entry())
	}
	return b.String()
}

// printed maps the structures that smtp-gatectl prints as JSON to their fields. Each has to
// say what it is in the tag help, where one has.
func printed(t *testing.T) map[string][]shownField {
	t.Helper()
	structs := map[string][]shownField{}
	files, err := filepath.Glob("../cmd/smtp-gatectl/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			var fields []shownField
			explained := false
			for _, f := range s.Fields.List {
				if f.Tag == nil {
					continue
				}
				text, err := strconv.Unquote(f.Tag.Value)
				if err != nil {
					t.Fatal(err)
				}
				tag := reflect.StructTag(text)
				name, _, _ := strings.Cut(tag.Get("json"), ",")
				if help := tag.Get("help"); name != "" {
					explained = explained || help != ""
					fields = append(fields, shownField{name, help})
				}
			}
			for _, f := range fields {
				if explained && f.help == "" {
					t.Fatalf("%s.%s has no help", spec.Name.Name, f.name)
				}
			}
			if explained {
				structs[spec.Name.Name] = fields
			}
			return true
		})
	}
	for _, name := range []string{"status", "room", "finding", "session"} {
		if structs[name] == nil {
			t.Fatalf("smtp-gatectl has no %s that explains itself", name)
		}
	}
	return structs
}
