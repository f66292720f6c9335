// A Config as text, in either syntax. What is printed reads back as the same
// Config. This file owns the layout and nothing about any option.

package config

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// style is how much is printed.
type style struct {
	title    string
	messages bool // the texts for clients too
	comments bool // what each option does and takes
	inactive bool // every setting commented out
	origins  bool // where each value comes from, behind it
	secret   bool // what is secret is hidden
}

const (
	inEffect = "the configuration in effect"
	toChange = `every option with its default. Uncomment what you change.
#
# Nothing works without a mode: it says how the server a client wanted is
# found. Mode fixed, for one server behind the gateway, needs its address.
# To have mail scanned, choose an engine for viruses and one for spam.
# smtp-gated -t FILE says whether the file is right and what it amounts to.`
)

// PrintLegacy writes c in the syntax of the old daemon, an option a line: as -t
// prints it, with the texts for clients if messages is set, and with a comment
// for each option if comments is set.
func (c *Config) PrintLegacy(w io.Writer, messages, comments bool) error {
	return c.legacy(w, style{title: inEffect, messages: messages, comments: comments})
}

// PrintTOML is PrintLegacy in TOML.
func (c *Config) PrintTOML(w io.Writer, messages, comments bool) error {
	return c.toml(w, style{title: inEffect, messages: messages, comments: comments})
}

// Print writes c in the syntax it was read in.
func (c *Config) Print(w io.Writer, messages, comments bool) error {
	if c.inTOML {
		return c.PrintTOML(w, messages, comments)
	}
	return c.PrintLegacy(w, messages, comments)
}

// PrintOne returns the line that Print writes for an option, in TOML with its
// whole path. name is one of either syntax; ok is false if there is no such option.
func (c *Config) PrintOne(name string) (line string, ok bool) {
	all := table(c)
	o, ok := index(all)[name]
	if i := slices.IndexFunc(all, func(o Option) bool { return o.Path == name }); i >= 0 {
		o, ok = all[i], true
	}
	switch {
	case !ok:
		for _, a := range arrays(c) {
			if a.Path == name {
				return name + " = " + a.inline(), true
			}
		}
		return "", false
	case c.inTOML:
		return o.Path + " = " + o.TOML(), true
	}
	return o.line(), true
}

// DefaultLegacy writes the file an admin starts from, in the old daemon's syntax.
func DefaultLegacy(w io.Writer) error {
	return Default().legacy(w, style{title: toChange, messages: true, comments: true, inactive: true})
}

// DefaultTOML writes the file an admin starts from, in TOML.
func DefaultTOML(w io.Writer) error {
	return NewSite().toml(w, style{title: toChange, messages: true, comments: true, inactive: true})
}

func (c *Config) legacy(w io.Writer, s style) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# smtp-gated.conf: %s\n", s.title)
	section := ""
	for _, o := range table(c) {
		if o.isMessage() && !s.messages {
			continue
		}
		if s.comments {
			if next := o.section(); next != section {
				section = next
				fmt.Fprintf(b, "\n# --- %s ---\n", strings.ReplaceAll(section, ".", ", "))
			}
			fmt.Fprintf(b, "\n# %s\n# %s\n", c.Speak(o.Help), o.legend(false))
		}
		fmt.Fprintf(b, "%s%s\n", s.sign(), o.line())
	}
	return b.Flush()
}

func (c *Config) toml(w io.Writer, s style) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# smtp-gated.toml: %s\n", s.title)
	section := ""
	for _, o := range table(c) {
		if o.section() != section {
			c.printArrays(b, s, section)
		}
		if o.isMessage() && !s.messages {
			continue
		}
		if next := o.section(); next != section {
			section = next
			fmt.Fprintf(b, "\n[%s]\n", section)
		}
		if s.comments {
			fmt.Fprintf(b, "\n# %s\n# %s\n", c.Speak(o.Help), o.legend(true))
		}
		fmt.Fprintf(b, "%s%s\n", s.sign(), s.setting(c, o, 0))
	}
	return b.Flush()
}

// printArrays writes the arrays of tables that belong to a section.
func (c *Config) printArrays(b *bufio.Writer, s style, section string) {
	for _, a := range arrays(c) {
		if a.section() != section {
			continue
		}
		if s.comments {
			b.WriteString(a.legend())
		}
		for i, row := range a.rows() {
			fmt.Fprintf(b, "\n[[%s]]\n", a.Path)
			for _, o := range row {
				fmt.Fprintln(b, s.setting(c, o, i))
			}
		}
	}
}

// setting is an option in TOML, in the table with a number of an array.
func (s style) setting(c *Config, o Option, table int) string {
	text := o.TOML()
	if s.secret && c.hides(o) {
		text = hidden
	}
	if s.origins {
		text += originMark + c.origin(o, table)
	}
	return o.key() + " = " + text
}

func (s style) sign() string {
	if s.inactive {
		return "#"
	}
	return ""
}

func (o Option) line() string { return fmt.Sprintf("%-30s %s", o.Name, o.Value()) }

// legend is the second comment line of an option.
func (o Option) legend(toml bool) string {
	text := "accepted: " + o.accepted(toml)
	if o.Restart {
		text += "; needs a restart"
	}
	if o.Remote {
		text += "; for the remote modes"
	}
	switch {
	case !o.Aged():
	case toml:
		text += "; in the old syntax the default is " + o.DefaultIn(false) + ", as it was in 1.4"
	default:
		text += "; in TOML the default is " + o.DefaultIn(true)
	}
	return text
}
