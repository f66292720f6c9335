package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// shownTypes is all that is printed as JSON. A type that stands in none of them is named by
// TestNumbers.
var shownTypes = []any{
	status{},
	[]session{},
	[]roomProcess{},
	levelInForce{},
	explanation{},
	[]lock{},
	[]*rate{},
	orderResult{},
	[]setting{},
	[]change{},
	checkResult{},
	[]outcome{},
	benchResult{},
	sinkResult{},
	sessionChange{},
	[]blocked{},
	scanResult{},
	traceResult{},
	[]result{},
}

// TestNumbers: whatever the daemon says, no number is printed as JSON that no double holds.
// It fills all that is printed with the largest there is.
func TestNumbers(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range shownTypes {
		full := reflect.New(reflect.TypeOf(v)).Elem()
		fillLargest(full, seen)
		var b bytes.Buffer
		if err := printJSON(&b, full.Interface()); err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		holdsExact(t, b.Bytes())
	}
	var b bytes.Buffer
	if err := printEventJSON(&b, &imsg.Event{Kind: imsg.EventLost, Count: math.MaxUint64, Size: math.MaxInt64, Time: 1}); err != nil {
		t.Fatal(err)
	}
	holdsExact(t, b.Bytes())
	for name := range tagged(t) {
		if !seen[name] {
			t.Errorf("%s is printed as JSON, and no part of shownTypes", name)
		}
	}
}

// TestLists: no list is printed as null, however little there is to print; but the layers
// that hold a room, where nobody knows them.
func TestLists(t *testing.T) {
	found := 0
	var look func(path string, v reflect.Type)
	look = func(path string, v reflect.Type) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			look(path, v.Elem())
		case reflect.Struct:
			for f := range v.Fields() {
				tag, printed := f.Tag.Lookup("json")
				at := path + "." + f.Name
				if printed || f.Anonymous {
					look(at, f.Type)
				}
				if !printed || f.Type.Kind() != reflect.Slice || strings.Contains(tag, ",omit") {
					continue
				}
				if found++; !f.Type.Implements(reflect.TypeFor[json.Marshaler]()) && at != "roomProcess.process.Layers" {
					t.Errorf("%s is null where there is none: it is to be a listOf", at)
				}
			}
		}
	}
	for _, v := range shownTypes {
		root := reflect.TypeOf(v)
		for root.Kind() != reflect.Struct {
			root = root.Elem()
		}
		look(root.Name(), root)
		var b bytes.Buffer
		if err := printJSONLine(&b, reflect.Zero(reflect.TypeOf(v)).Interface()); err != nil || strings.HasPrefix(b.String(), "null") {
			t.Errorf("%T: %v: %s", v, err, b.String())
		}
	}
	if found < 10 {
		t.Errorf("only %d lists found", found)
	}
}

// fillLargest gives each number of v the largest value, and each list and map an element.
func fillLargest(v reflect.Value, seen map[string]bool) {
	if v.Kind() != reflect.Slice && v.Type().Implements(reflect.TypeFor[json.Marshaler]()) { // a time, a word
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		seen[v.Type().Name()] = true
		for _, f := range v.Fields() {
			if f.CanSet() {
				fillLargest(f, seen)
			} else if f.Kind() == reflect.Struct { // an embedded one: its fields are printed
				for _, inner := range f.Fields() {
					if inner.CanSet() {
						fillLargest(inner, seen)
					}
				}
				seen[f.Type().Name()] = true
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillLargest(v.Elem(), seen)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillLargest(v.Index(0), seen)
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fillLargest(e, seen)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), e)
	case reflect.Interface:
		v.Set(reflect.ValueOf(uint64(math.MaxUint64)))
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MinInt64)
	case reflect.Uint32:
		v.SetUint(math.MaxUint32)
	case reflect.Uint64:
		v.SetUint(math.MaxUint64)
	case reflect.Float64:
		v.SetFloat(math.MaxFloat64)
	case reflect.String:
		v.SetString("18446744073709551615 \\ \"9007199254740993\" ")
	}
}

// holdsExact reads a text as most readers do, and exactly.
func holdsExact(t *testing.T, text []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		n, ok := token.(json.Number)
		if !ok || strings.ContainsAny(n.String(), ".e") {
			continue
		}
		f, err := n.Float64()
		if err != nil || math.Abs(f) > exact {
			t.Errorf("%s in %s", n, text)
		}
	}
	if !json.Valid(text) {
		t.Errorf("no JSON: %s", text)
	}
}

// named has a field whose name in JSON is chosen, as one that is printed has.
var named = regexp.MustCompile(`json:"[a-z]`)

// tagged are the structures of this program that have a form in JSON.
func tagged(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					all[spec.Name.Name] = all[spec.Name.Name] || field.Tag != nil && named.MatchString(field.Tag.Value)
				}
			}
			return true
		})
	}
	for name, is := range all {
		if !is {
			delete(all, name)
		}
	}
	return all
}

func TestQuoteLarge(t *testing.T) {
	for text, want := range map[string]string{
		`9007199254740992`:                         `9007199254740992`,
		`[9007199254740993,-1,"9007199254740993"]`: `["9007199254740993",-1,"9007199254740993"]`,
		`{"a\"1":-9007199254740993}`:               `{"a\"1":"-9007199254740993"}`,
		`1e+300`:                                   `1e+300`,
		`0.18446744073709551`:                      `0.18446744073709551`,
		`18446744073709551615`:                     `"18446744073709551615"`,
		`{"x":"\\","y":18446744073709551615}`:      `{"x":"\\","y":"18446744073709551615"}`,
	} {
		if got := string(quoteLarge([]byte(text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
