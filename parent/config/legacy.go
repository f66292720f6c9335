// The syntax of the old daemon: one option a line. This file owns lines; what
// a value may be belongs to the kinds.

package config

import (
	"strings"
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

// parseLegacy reads text into c, which holds the defaults.
func (r *report) parseLegacy(c *Config, text string) {
	options := index(table(c))
	number := 0
	for row := range strings.SplitSeq(text, "\n") {
		number++
		row = strings.TrimLeft(strings.TrimSuffix(row, "\r"), blanks)
		if row == "" || row[0] == '#' || row[0] == ';' {
			continue
		}
		name, value, blank := row, "", false
		if i := strings.IndexAny(row, blanks); i >= 0 {
			name, value, blank = row[:i], strings.Trim(row[i:], blanks+"\r"), true
		}
		r.parseLine(options, number, name, value, blank)
		if r.full() {
			return
		}
	}
}

// parseLine takes one line. blank tells whether anything stood behind the name:
// so an empty value differs from a forgotten one.
func (r *report) parseLine(options map[string]Option, number int, name, value string, blank bool) {
	now, old := name, false
	if s, ok := switches[name]; ok {
		on, _, err := boolean().parse(value)
		if err != nil {
			r.refused(number, name, err, boolean().accepts)
			return
		}
		now, value, old = s.option, turned(options[s.option].Value(), s.word, s.none, on), true
	} else {
		now, value, old = modern(name, value)
	}
	o, ok := options[now]
	if !ok {
		r.errorf(number, shown(name), "unknown option (smtp-gated -T lists all of them)")
		return
	}
	if !blank {
		r.errorf(number, name, "has no value (accepted: %s)", o.Accepted())
		return
	}
	remark, err := o.read(value)
	if err != nil {
		r.refused(number, name, err, o.Accepted())
		return
	}
	if old {
		r.warnf(number, name, `is an old form, write "%s %s"`, now, o.Value())
	}
	if remark != "" {
		r.warnf(number, name, "%s", remark)
	}
}

// shown is a name from a file that may be anything.
func shown(name string) string {
	if q := quoted(name); q != `"`+name+`"` {
		return q
	}
	return name
}
