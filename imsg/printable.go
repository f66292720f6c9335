// Foreign text for people: what is shown or logged of it. This file owns the one form
// that is harmless for a terminal and for a line of text.

package imsg

import (
	"reflect"
	"strings"
)

// Printable makes foreign text fit for a line: each octet that is not printable ASCII
// becomes "#". At most n octets are left of it.
func Printable(s string, n int) string {
	b := []byte(s[:min(len(s), n)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '#'
		}
	}
	return string(b)
}

// MakePrintable makes all text of m so, for a program that shows it. Where the rule of
// a field lets it have several lines, it keeps them.
func MakePrintable(m Message) { makePrintable(reflect.ValueOf(m).Elem(), "") }

func makePrintable(v reflect.Value, tag reflect.StructTag) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[Entry]().PkgPath() {
			return // an address: its rule has seen to it
		}
		for i := range v.NumField() {
			makePrintable(v.Field(i), v.Type().Field(i).Tag)
		}
	case reflect.Slice:
		for i := range v.Len() {
			makePrintable(v.Index(i), tag)
		}
	case reflect.String:
		lines := []string{v.String()}
		if strings.Contains(tag.Get("rule"), " lines: ") {
			lines = strings.Split(v.String(), "\n")
		}
		for i, line := range lines {
			lines[i] = Printable(line, len(line))
		}
		v.SetString(strings.Join(lines, "\n"))
	}
}
