// The syntax of the old daemon: one option a line. This file owns lines; what
// a value may be belongs to the kinds.

package config

import (
	"iter"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// index finds a table's rows by every name the legacy syntax takes.
func index(options []Option) map[string]Option {
	byName := make(map[string]Option, len(options))
	for _, o := range options {
		byName[o.Name] = o
		for _, name := range o.Also {
			byName[name] = o
		}
	}
	return byName
}

// row is one line of a file. A comment or an empty line has no name.
type row struct {
	comment string // with its sign
	name    string
	value   string
	blank   bool // something stands behind the name: so an empty value differs from a forgotten one
}

// rows walks over the lines of text, numbered from 1.
func rows(text string) iter.Seq2[int, row] {
	return func(yield func(int, row) bool) {
		number := 0
		for line := range strings.SplitSeq(text, "\n") {
			number++
			line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), blanks)
			var r row
			if line != "" && (line[0] == '#' || line[0] == ';') {
				r.comment = line
			} else if i := strings.IndexAny(line, blanks); i >= 0 {
				r = row{name: line[:i], value: strings.Trim(line[i:], blanks+"\r"), blank: true}
			} else {
				r.name = line
			}
			if !yield(number, r) {
				return
			}
		}
	}
}

// parseLegacy reads text into c, which holds the defaults.
func (r *report) parseLegacy(c *Config, text string) {
	options := index(table(c))
	set := map[string]bool{}
	for number, row := range rows(text) {
		if row.name != "" {
			o := r.parseLine(options, number, row)
			if set[o.Name] = true; o.Path != "" {
				c.came(o, number)
			}
		}
		if r.full() {
			return
		}
	}
	if !set["antispam_refuse"] { // in 1.4 spam that did not lock was let through
		c.SpamRefuse = c.LockOn&imsg.LockSpam != 0
	}
}

// parseLine takes one line and returns the option it sets.
func (r *report) parseLine(options map[string]Option, number int, line row) (set Option) {
	name, value := line.name, line.value
	now, old := name, false
	if s, ok := switches[name]; ok {
		on, _, err := boolean().parse(value)
		if err != nil {
			r.refused(number, name, err, boolean().accepts)
			return set
		}
		now, value, old = s.option, turned(options[s.option].Value(), s.word, s.none, on), true
	} else {
		now, value, old = modern(name, value)
	}
	o, ok := options[now]
	if !ok {
		r.errorf(number, shown(name), "unknown option (smtp-gated -T lists all of them)")
		return set
	}
	if !line.blank {
		r.errorf(number, name, "has no value (accepted: %s)", o.Accepted())
		return set
	}
	remark, err := o.read(value)
	if err != nil {
		r.refused(number, name, err, o.Accepted())
		return set
	}
	if old {
		r.warnf(number, name, oldForm+`, write "%s %s"`, now, o.Value())
	}
	if remark != "" {
		r.warnf(number, name, "%s", remark)
	}
	return o
}

// shown is a name from a file that may be anything.
func shown(name string) string {
	if q := quoted(name); q != `"`+name+`"` {
		return q
	}
	return name
}

// oldForm begins the warnings about names of the past.
const oldForm = "is an old form"
