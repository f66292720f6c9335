// What an option's value can be, in general. This file owns how a kind is bound
// to a field; the kinds themselves stand in numbers.go, quantities.go,
// words.go, strings.go and addresses.go.

package config

import (
	"fmt"
	"strings"
)

// kind is how values of one sort are read and written.
type kind[T any] struct {
	name        string // as the manual calls it
	accepts     string // in the legacy syntax
	acceptsTOML string // in TOML, if that differs
	multi       bool   // several values: a list in TOML
	parse       func(text string) (v T, remark string, err error)
	text        func(T) string       // the inverse of parse
	decode      func(any) (T, error) // from TOML; nil: a string (or list) that parse takes
	toml        func(T) string       // the inverse of decode; nil: what text says, quoted
}

// field is one field of a Config with its kind and defaults. It implements value.
type field[T any] struct {
	at   *T
	init T // the default in the Config's syntax, one of the next two
	old  T
	site T
	kind[T]
}

// value is a field, whatever its type.
type value interface {
	choose(toml bool)
	reset()
	read(text string) (remark string, err error)
	decodeTOML(v any) (remark string, err error)
	Value() string
	TOML() string
	Default() string
	DefaultIn(toml bool) string
	Aged() bool
	Kind() string
	accepted(toml bool) string
}

func as[T any](at *T, init T, k kind[T]) *field[T] { return &field[T]{at, init, init, init, k} }

// inTOML gives an option another default in TOML, which a new site writes. The
// old syntax keeps that of 1.4: a file that moves over means what it meant.
func (f *field[T]) inTOML(init T) *field[T] {
	f.site = init
	return f
}

// choose takes the default of a syntax.
func (f *field[T]) choose(toml bool) {
	f.init = f.old
	if toml {
		f.init = f.site
	}
}

func (f *field[T]) reset() { *f.at = f.init }

// read takes a value from the legacy syntax. An option may stand empty only if
// it is empty by default, in both syntaxes: else one could not say what the other says.
func (f *field[T]) read(text string) (string, error) {
	if text == "" {
		if f.text(f.init) != "" {
			return "", fmt.Errorf("has no value")
		}
		*f.at = f.init
		return "", nil
	}
	v, remark, err := f.parse(text)
	if err != nil {
		return "", err
	}
	*f.at = v
	return remark, nil
}

func (f *field[T]) decodeTOML(data any) (string, error) {
	if f.decode != nil {
		v, err := f.decode(data)
		if err != nil {
			return "", err
		}
		*f.at = v
		return "", nil
	}
	text, err := f.plain(data)
	if err != nil {
		return "", err
	}
	return f.read(strings.Trim(text, blanks))
}

// plain returns what the legacy syntax would say for a TOML string or list of strings.
func (f *field[T]) plain(data any) (string, error) {
	switch data := data.(type) {
	case string:
		return data, nil
	case []any:
		if !f.multi {
			return "", fmt.Errorf("takes one value, not a list")
		}
		var words []string
		for _, e := range data {
			s, ok := e.(string)
			if !ok {
				return "", fmt.Errorf("%s is not a string", saw(e))
			}
			words = append(words, s)
		}
		return strings.Join(words, ","), nil
	}
	return "", fmt.Errorf("%s is not a string", saw(data))
}

// Value is the value as the legacy syntax writes it.
func (f *field[T]) Value() string { return f.text(*f.at) }

// Default is the default as the legacy syntax writes it.
func (f *field[T]) Default() string { return f.text(f.init) }

// DefaultIn is the default of a syntax, as that syntax writes it.
func (f *field[T]) DefaultIn(toml bool) string {
	if toml {
		return f.inTOMLSyntax(f.site)
	}
	return f.text(f.old)
}

// Aged tells whether TOML has another default than the old syntax.
func (f *field[T]) Aged() bool { return f.text(f.old) != f.text(f.site) }

// Kind names the sort of value: UINT, BOOL, FILE and so on.
func (f *field[T]) Kind() string { return f.name }

// TOML is the value as TOML writes it.
func (f *field[T]) TOML() string { return f.inTOMLSyntax(*f.at) }

func (f *field[T]) inTOMLSyntax(v T) string {
	switch text := f.text(v); {
	case f.toml != nil:
		return f.toml(v)
	case f.multi:
		var b strings.Builder
		for i, word := range list(text) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoteTOML(word))
		}
		return "[" + b.String() + "]"
	default:
		return quoteTOML(text)
	}
}

func (f *field[T]) accepted(toml bool) string {
	if toml && f.acceptsTOML != "" {
		return f.acceptsTOML
	}
	return f.accepts
}

// blanks separate a name from its value and may surround both.
const blanks = " \t"

// list splits words joined by commas. Blanks are taken off behind a comma, not
// before one: there they stay and make the word an unknown one.
func list(text string) []string {
	if text == "" {
		return nil
	}
	words := strings.Split(text, ",")
	for i := range words {
		words[i] = strings.TrimLeft(words[i], blanks)
	}
	return words
}
