// How options are spoken of: by the names that stand in the admin's file. This
// file owns the translation. All texts are written with the names and words of
// the old syntax.

package config

import (
	"reflect"
	"regexp"
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

var (
	// A name of one word is one only where it is to be set: "port" and "mode"
	// are plain words, too.
	spoken   = pattern(`\b(set |write )?([a-z]+(?:_[a-z0-9]+)*)\b`)
	switched = pattern(`\bwrite ([a-z_.]+ )?(yes|no)\b`)
)

// pattern compiles an expression when it is needed first: the rooms are this program, too.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// speak translates a text, or the format of one: what is filled in may hold
// anything, a path that looks like a name.
func (c *Config) speak(text string) string {
	if !c.inTOML {
		return text
	}
	text = spoken().ReplaceAllStringFunc(text, func(match string) string {
		part := spoken().FindStringSubmatch(match)
		path, known := paths()[part[2]]
		if !known || part[1] == "" && !strings.Contains(part[2], "_") {
			return match
		}
		return part[1] + path
	})
	return switched().ReplaceAllStringFunc(text, func(match string) string {
		part := switched().FindStringSubmatch(match)
		if part[2] == "yes" {
			return "write " + part[1] + "true"
		}
		return "write " + part[1] + "false"
	})
}

// equal tells whether both mean the same, whatever syntax they were read in.
func (c *Config) equal(other *Config) bool {
	a, b := *c, *other
	a.inTOML, a.lines, a.origins, a.hidden = b.inTOML, b.lines, b.origins, b.hidden
	return reflect.DeepEqual(a, b)
}
