// The configuration in force, for an operator's eyes: what was read, where, and what has
// become of it. This file owns the form of that text, that it has no secret in it, and
// that it reads back.

package config

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// hidden is printed in the place of a secret that is set.
const hidden = `"***"`

// Running is a configuration in force, without its secrets.
type Running struct {
	*Config
	PID        int // the main process
	Generation int // of the rooms that live by it
}

// runningTitle is the first line.
const runningTitle = "# smtp-gated: the configuration of generation %d of process %d, without secrets\n"

// originMark stands between a value and its origin.
const originMark = "  # "

// kept is the origin of a value that the file does not have any more.
const kept = "kept: a change needs a restart"

// RunningFile is where that of a family lies: beside its control socket, which no other
// family has.
func (c *Config) RunningFile() string { return RunningFile(c.ControlPaths()[0]) }

// RunningFile is where that of the family at a control socket lies.
func RunningFile(control string) string { return control + ".running.toml" }

// Print writes it, with its origins, and so that ParseRunning reads it.
func (r *Running) Print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, runningTitle, r.Generation, r.PID); err != nil {
		return err
	}
	return r.toml(w, style{title: inEffect, messages: true, origins: true, secret: true})
}

// Show writes it for people, with its origins or not.
func (r *Running) Show(w io.Writer, origins bool) error {
	return r.toml(w, style{title: inEffect + ", without secrets", messages: true, origins: origins, secret: true})
}

// Who starts reads no such file.
var (
	originLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([a-z0-9_]+) = (.*)` + originMark + `(default|line [0-9]+|` + kept + `)$`)
	})
	sectionLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[\[?([a-z0-9_.]+)\]\]?$`) })
)

// ParseRunning reads what Print has written; of secrets it knows only whether they are set.
func ParseRunning(name string, text []byte) (*Running, error) {
	var pid, generation int
	if _, err := fmt.Sscanf(string(text[:min(len(text), len(runningTitle)+64)]), runningTitle, &generation, &pid); err != nil {
		return nil, &Error{File: name, Text: "is no configuration in force"}
	}
	secrets := make(map[string]bool)
	for _, o := range OptionsTOML() {
		secrets[o.Path] = o.Secret
	}
	var b strings.Builder
	origins, unknown := make(map[string][]string), make(map[string]bool)
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if s := sectionLine().FindStringSubmatch(line); s != nil {
			section = s[1] + "."
		}
		if o := originLine().FindStringSubmatch(line); o != nil {
			path := section + o[1]
			origins[path] = append(origins[path], o[3])
			if line = o[1] + " = " + o[2]; secrets[path] && o[2] == hidden {
				line, unknown[path] = "", true
			}
		}
		b.WriteString(line + "\n")
	}
	c, _, err := Parse(name, []byte(b.String()))
	if err != nil {
		return nil, err
	}
	c.origins, c.hidden = origins, unknown
	return &Running{c, pid, generation}, nil
}

// came notes in which line of its file an option stands.
func (c *Config) came(o Option, line int) {
	c.noteOrigin(o.Path, "line "+strconv.Itoa(line))
}

func (c *Config) noteOrigin(path, origin string) {
	if c.origins == nil {
		c.origins = make(map[string][]string)
	}
	c.origins[path] = []string{origin}
}

// origin is where the value of an option comes from, in the table with a number of an array.
func (c *Config) origin(o Option, table int) string {
	if all := c.origins[o.Path]; table < len(all) {
		return all[table]
	}
	if line := c.Line(o.Path, table); line > 0 {
		return "line " + strconv.Itoa(line)
	}
	return "default"
}

// hides tells whether an option is a secret that is set.
func (c *Config) hides(o Option) bool {
	return o.Secret && (o.Value() != o.Default() || c.hidden[o.Path])
}

// Setting is one option of a configuration, in the words of TOML.
type Setting struct {
	Name    string // path; of an array of tables with the number of the table: tls.rule[0].policy
	Value   string // hidden, if it is a secret
	Secret  bool   // and set: Value does not tell what it is
	Origin  string // line N, default, or kept: …
	Restart bool   // a reload leaves it as it is
}

// Settings are all options, as they are printed.
func (c *Config) Settings() (all []Setting) {
	add := func(name string, o Option, table int) {
		s := Setting{Name: name, Value: o.TOML(), Origin: c.origin(o, table), Restart: o.Restart}
		if c.hides(o) {
			s.Value, s.Secret = hidden, true
		}
		all = append(all, s)
	}
	for _, o := range table(c) {
		add(o.Path, o, 0)
	}
	for _, a := range arrays(c) {
		for i, row := range a.rows() {
			for _, o := range row {
				add(fmt.Sprintf("%s[%d].%s", a.Path, i, o.key()), o, i)
			}
		}
	}
	return all
}

// Change is an option whose value in a file is another than the one in force.
type Change struct {
	Name          string // as the file's syntax has it
	Running, File string // values, in TOML
	Restart       bool   // a reload does not change it
}

// Changes are what a reload of the file that next was read from would change, and what it
// would leave. Secrets that are set in both cannot be compared.
func (r *Running) Changes(next *Config) (all []Change) {
	is := table(r.Config)
	for i, o := range table(next) {
		was, now := is[i].TOML(), o.TOML()
		same := was == now
		if r.hides(is[i]) {
			was = hidden
		}
		if next.hides(o) {
			now = hidden
		}
		if was == hidden || now == hidden {
			same = was == now
		}
		if !same {
			all = append(all, Change{next.Called(o.Name), was, now, o.Restart})
		}
	}
	have := arrays(r.Config)
	for i, a := range arrays(next) {
		if was, now := have[i].inline(), a.inline(); was != now {
			all = append(all, Change{a.Path, was, now, false})
		}
	}
	return all
}

// Uncomparable are the options whose secrets are set both in force and in the file.
func (r *Running) Uncomparable(next *Config) (names []string) {
	is := table(r.Config)
	for i, o := range table(next) {
		if r.hides(is[i]) && next.hides(o) {
			names = append(names, next.Called(o.Name))
		}
	}
	return names
}
