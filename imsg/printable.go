// Foreign text for people: what is shown or logged of it. This file owns the one form
// that is harmless for a terminal and for a line of text.

package imsg

import (
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
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

// Readable makes foreign text that people wrote fit for a line: what is no printable
// character (unicode.IsPrint), or none of UTF-8, becomes "#". At most n octets are left of
// it.
func Readable(s string, n int) string {
	var b strings.Builder
	for _, c := range s {
		if !isReadable(c) {
			c = '#'
		}
		if b.Len()+utf8.RuneLen(c) > n {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

func isReadable(c rune) bool { return unicode.IsPrint(c) && c != utf8.RuneError }

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
		if strings.HasSuffix(tag.Get("rule"), " readable") {
			v.SetString(Readable(v.String(), v.Len()))
			return
		}
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
