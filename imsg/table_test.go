package imsg

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for i := range Table {
		e := &Table[i]
		m := e.New()
		if seen[e.Name] || Row(m) != e || RowOf(e.Type) != e {
			t.Errorf("%s has two rows, or none", e.Name)
		}
		seen[e.Name] = true
		if _, told := m.(Notice); told != (e.Way == Tell) {
			t.Errorf("%s is told: %v, by the table %s", e.Name, told, e.Way)
		}
		if e.From == 0 || e.To == 0 || e.Max == 0 {
			t.Errorf("%s: incomplete row", e.Name)
		}
		if e.Way == Ask {
			a := rowNamed(e.Answer)
			if a == nil || a.Way != Answer {
				t.Fatalf("%s is answered by %s", e.Name, e.Answer)
			}
			// The answer must be able to go back.
			if e.To&^a.From != 0 || e.From&^a.To != 0 {
				t.Errorf("%s goes from %s to %s, but %s from %s to %s", e.Name, e.From, e.To, a.Name, a.From, a.To)
			}
		}
		if e.Way == Answer && e.Files > 0 {
			t.Errorf("%s: nobody closes the files of a late answer", e.Name)
		}
		if e.Back != nil {
			if back := Row(e.Back(m)); e.Way != Answer || back.Way != Tell || back.From != e.To || back.To != e.From {
				t.Errorf("%s is given back by %s", e.Name, back.Name)
			}
		}
	}
	if RowOf(0) != nil || RowOf(Type(len(Table)+1)) != nil || Row(&struct{}{}) != nil {
		t.Error("there are rows of nothing")
	}
}

func rowNamed(name string) *Entry {
	for i := range Table {
		if Table[i].Name == name {
			return &Table[i]
		}
	}
	return nil
}

// Nobody but the parent may reconfigure, and the operator reaches lockd only.
func TestTableWalls(t *testing.T) {
	for i := range Table {
		e := &Table[i]
		if (e.From|e.Denied)&operators != 0 && e.To != set(Lockd) {
			t.Errorf("%s: the operator's tool may talk to %s", e.Name, e.To)
		}
		if e.Max == huge && e.From != set(Parent) {
			t.Errorf("%s: %s may send 1 MiB", e.Name, e.From)
		}
		if e.To.Has(Parent) && e.Files > 0 {
			t.Errorf("%s: the parent takes descriptors from %s", e.Name, e.From)
		}
	}
}

// TestReaderLooks: what who only reads may ask is written down here once more, and
// everything else that an operator may ask is an order, which is denied. It hears of
// nothing else than what it asks, and hands no descriptor over.
func TestReaderLooks(t *testing.T) {
	const looks = " Status Sessions Locks Rates RateShow EventsAfter Explain Exemptions "
	answers := " Failure "
	for i := range Table {
		e := &Table[i]
		look := strings.Contains(looks, " "+e.Name+" ")
		if look {
			answers += e.Answer + " "
		}
		if e.From.Has(Reader) != look || look && (e.Way != Ask || e.Answer == "Done" || e.Files > 0 || e.Report) {
			t.Errorf("%s: who reads may say it: %t", e.Name, e.From.Has(Reader))
		}
		if e.Order() != (e.From.Has(Control) && !look) || e.Denied&^set(Reader) != 0 || e.Denied&e.From != 0 {
			t.Errorf("%s: it is denied to %q", e.Name, e.Denied)
		}
	}
	for i := range Table {
		if e := &Table[i]; e.To.Has(Reader) != strings.Contains(answers, " "+e.Name+" ") {
			t.Errorf("%s: who reads hears it: %t", e.Name, e.To.Has(Reader))
		}
	}
}

// TestMarkers: what is marked as a message has its row.
func TestMarkers(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "notice" && f.Name.Name != "answer" {
				continue
			}
			star, ok := f.Recv.List[0].Type.(*ast.StarExpr)
			if !ok {
				t.Fatalf("%s: the receiver of %s is no pointer", name, f.Name.Name)
			}
			if who := star.X.(*ast.Ident).Name; rowNamed(who) == nil {
				t.Errorf("%s: %s has no row in Table", name, who)
			}
			found++
		}
	}
	if found < 40 {
		t.Errorf("only %d markers found", found)
	}
}
