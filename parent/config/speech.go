// How options are spoken of: by the names that stand in the admin's file. This file
// owns the translation. A text names an option by a mark, its name in the old syntax in
// braces, as in {spool_path}; {yes} and {no} are the words of a switch.

package config

import (
	"reflect"
	"strings"
	"sync"
)

// names of the old syntax with their paths in TOML.
var paths = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for name, o := range index(Options()) {
		all[name] = o.Path
	}
	return all
})

// Called returns the name of an option in the syntax c was read in.
func (c *Config) Called(name string) string {
	if path, ok := paths()[name]; ok && c.inTOML {
		return path
	}
	return name
}

// SpeakLike has c call its options as another file does, which it was not read from: what
// a daemon runs by is in TOML, whatever its file is.
func (c *Config) SpeakLike(other *Config) { c.inTOML = other.inTOML }

// Speak spells the marks of a text in the syntax c was read in. Of what is to be filled
// in it is the format that is spelled: a value may hold anything.
func (c *Config) Speak(text string) string { return Speak(text, c.inTOML) }

// Speak spells the marks of a text in TOML, or in the old syntax.
func Speak(text string, toml bool) string {
	if toml {
		return inTOML().Replace(text)
	}
	return inLegacy().Replace(text)
}

var (
	inTOML   = sync.OnceValue(func() *strings.Replacer { return speaker(true, "{yes}", "true", "{no}", "false") })
	inLegacy = sync.OnceValue(func() *strings.Replacer { return speaker(false, "{yes}", "yes", "{no}", "no") })
)

func speaker(toml bool, spelled ...string) *strings.Replacer {
	for name, path := range paths() {
		if !toml {
			path = name
		}
		spelled = append(spelled, "{"+name+"}", path)
	}
	return strings.NewReplacer(spelled...)
}

// equal tells whether both mean the same, whatever syntax they were read in.
func (c *Config) equal(other *Config) bool {
	a, b := *c, *other
	a.inTOML, a.lines, a.origins, a.hidden = b.inTOML, b.lines, b.origins, b.hidden
	return reflect.DeepEqual(a, b)
}
