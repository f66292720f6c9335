// From the old syntax to TOML. This file owns what becomes of an admin's
// comments, and how what changed is explained. What is converted means the same,
// or is not given out: a default that is another in TOML is written out.

package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Convert returns a file of the old syntax in TOML: the options it sets, in the
// order of their sections, with its comments. name stands in errors and
// warnings, which are those of Parse; any other error means that the result was
// not the same Config, and should not happen.
func Convert(name string, text []byte) ([]byte, []Warning, error) {
	all := strings.TrimPrefix(string(text), "\ufeff")
	if isTOML(all) {
		return nil, nil, &Error{File: name, Text: "is TOML already"}
	}
	c, warnings, err := Parse(name, text)
	if err != nil {
		return nil, warnings, err
	}
	v := conversion{said: map[string]*saying{}, options: index(table(c))}
	v.listen(all)
	v.explain(warnings)
	result := v.write(name, c)

	back, _, err := Parse(name, result)
	if err != nil {
		return nil, warnings, fmt.Errorf("convert %s: the result cannot be read: %v", name, err)
	}
	if !c.equal(back) {
		return nil, warnings, errors.New("convert " + name + ": the result means something else")
	}
	return result, warnings, nil
}

// saying is what a file says about one option.
type saying struct {
	comments []string
	notes    []string
	lines    []int // that set all of it
}

// conversion is the state of one.
type conversion struct {
	options map[string]Option
	said    map[string]*saying // by today's name
	byLine  []string           // today's name of the option a line sets
	head    []string           // comments about the whole file
	tail    []string           // comments with nothing behind them
}

// listen hears what the lines of text say. A comment belongs to the option behind
// it; only one that begins the file and stands alone is about all of it.
func (v *conversion) listen(text string) {
	v.byLine = []string{""} // lines count from 1
	var waiting []string
	begun, gap := false, false
	for number, row := range rows(text) {
		v.byLine = append(v.byLine, "")
		switch {
		case row.comment != "":
			if gap && waiting != nil {
				waiting = append(waiting, "")
			}
			waiting, gap = append(waiting, remark(row.comment)), false
		case row.name == "":
			if !begun && waiting != nil {
				v.head, waiting, begun = waiting, nil, true
			}
			gap = true
		default:
			name := v.today(row)
			if v.said[name] == nil {
				v.said[name] = &saying{}
			}
			s := v.said[name]
			s.comments = append(s.comments, waiting...)
			v.byLine[number] = name
			if _, part := switches[row.name]; !part {
				s.lines = append(s.lines, number)
			}
			if row.name != name {
				s.notes = append(s.notes, fmt.Sprintf("line %d: %s is %s %s", number, row.name, v.kinship(row.name), name))
			} else if _, value, old := modern(row.name, row.value); old {
				s.notes = append(s.notes, fmt.Sprintf("line %d: %s is an old word for %s", number, row.value, value))
			}
			waiting, begun, gap = nil, true, false
		}
	}
	v.tail = waiting
}

// today returns the name of the option that a good line sets.
func (v *conversion) today(line row) string {
	if s, ok := switches[line.name]; ok {
		return s.option
	}
	name, _, _ := modern(line.name, line.value)
	return v.options[name].Name
}

// kinship words what an option's other name is to it.
func (v *conversion) kinship(name string) string {
	if _, ok := switches[name]; ok {
		return "an old form of a word of"
	}
	if _, ok := v.options[name]; ok && name != "nat_header" {
		return "another name of"
	}
	return "an old name of"
}

// explain notes what Parse warned of beside the options.
func (v *conversion) explain(warnings []Warning) {
	for _, w := range warnings {
		name, at := w.Option, ""
		if w.Line > 0 {
			name, at = v.byLine[w.Line], fmt.Sprintf("line %d: ", w.Line)
		}
		if s := v.said[name]; s != nil && !strings.HasPrefix(w.Text, oldForm) {
			s.notes = append(s.notes, at+w.Text)
		}
	}
	for _, s := range v.said {
		for _, line := range s.lines[:max(len(s.lines)-1, 0)] {
			s.notes = append(s.notes, fmt.Sprintf("line %d: overruled by line %d", line, s.lines[len(s.lines)-1]))
		}
	}
}

func (v *conversion) write(name string, c *Config) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# smtp-gated.toml: converted from %s\n", remark(name))
	if v.head != nil {
		b.WriteString("#\n")
		comment(&b, v.head)
	}
	section := ""
	site := OptionsTOML()
	for i, o := range table(c) {
		s := v.said[o.Name]
		if s == nil {
			if o.Value() == site[i].Value() {
				continue
			}
			s = &saying{notes: []string{"not set, and so as in 1.4; the default here is " + site[i].TOML()}}
		}
		if next := o.section(); next != section {
			section = next
			fmt.Fprintf(&b, "\n[%s]\n", section)
		} else if s.comments != nil {
			b.WriteByte('\n')
		}
		comment(&b, s.comments)
		comment(&b, s.notes)
		fmt.Fprintf(&b, "%s = %s", o.key(), o.TOML())
		if o.key() != o.Name {
			b.WriteString(" # " + o.Name)
		}
		b.WriteByte('\n')
	}
	if v.tail != nil {
		b.WriteByte('\n')
		comment(&b, v.tail)
	}
	return b.Bytes()
}

func comment(b *bytes.Buffer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(b, strings.TrimRight("# "+line, blanks))
	}
}

// remark is a comment's text without its sign. Old files may be in any 8-bit
// code; TOML takes UTF-8 and no control characters, in comments too.
func remark(text string) string {
	text = strings.TrimPrefix(strings.TrimLeft(text, "#;"), " ")
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
