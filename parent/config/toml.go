// The TOML syntax: the same options under the sections and keys of their path.
// This file owns finding them; what a value may be belongs to the kinds.

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// tomlReader reads one document.
type tomlReader struct {
	*report
	config   *Config
	text     string
	meta     toml.MetaData
	options  map[string]Option // by path
	arrays   map[string]Array  // by path
	sections map[string]bool
	lines    map[string][]int  // for Config
	legacy   map[string]Option // by names of the other syntax, for a helpful error
}

// keys are those of a table.
type keys = map[string]toml.Primitive

// parseTOML reads text into c, which holds the defaults.
func (r *report) parseTOML(c *Config, text string) {
	t := tomlReader{report: r, config: c, text: text, options: map[string]Option{}, arrays: map[string]Array{}, sections: map[string]bool{}, lines: map[string][]int{}}
	for _, a := range arrays(c) {
		t.arrays[a.Path] = a
	}
	all := table(c)
	t.legacy = index(all)
	for _, o := range all {
		t.options[o.Path] = o
		for s := o.section(); s != ""; s = s[:max(0, strings.LastIndexByte(s, '.'))] {
			t.sections[s] = true
		}
	}
	var root keys
	meta, err := toml.Decode(text, &root)
	if err != nil {
		line := 0
		if e := (toml.ParseError{}); errors.As(err, &e) {
			err, line = errors.New(e.Message), e.Position.Line
		}
		r.errorf(line, "", "%v", err)
		return
	}
	t.meta = meta
	t.section("", root)
	c.lines = t.lines
}

func (t *tomlReader) section(prefix string, table keys) {
	for key, primitive := range table {
		if t.full() {
			return
		}
		path := prefix + key
		data, line := t.locate(primitive)
		o, known := t.options[path]
		a, array := t.arrays[path]
		switch {
		case strings.Contains(key, "."): // quoted, else it were no part of a key
			t.errorf(line, shown(path), "unknown key")
		case known:
			t.option(o, data, line)
			t.config.came(o, line)
		case array:
			all, ok := elements(data)
			var tables []keys
			if !ok || t.meta.PrimitiveDecode(primitive, &tables) != nil {
				t.errorf(line, path, "is a list of tables, each written [[%s]]", path)
				continue
			}
			t.array(a, all, tables, line)
		case t.sections[path]:
			var inner keys
			// The library takes anything else for an empty table.
			if _, ok := data.(map[string]any); !ok || t.meta.PrimitiveDecode(primitive, &inner) != nil {
				t.errorf(line, path, "is a section, written [%s]", path)
				continue
			}
			t.section(path+".", inner)
		default:
			hint := ""
			if o, ok := t.legacy[key]; ok {
				hint = fmt.Sprintf(", in this syntax it is %s", o.Path)
			}
			t.errorf(line, shown(path), "unknown key%s", hint)
		}
	}
}

// elements returns those of a list, whichever way it is written.
func elements(data any) (all []any, ok bool) {
	switch data := data.(type) {
	case []any:
		return data, true
	case []map[string]any:
		for _, e := range data {
			all = append(all, e)
		}
		return all, true
	}
	return nil, false
}

func (t *tomlReader) option(o Option, data any, line int) {
	remark, err := o.decodeTOML(data)
	if err != nil {
		t.refused(line, o.Path, err, o.AcceptedTOML())
		return
	}
	if remark != "" {
		t.warnf(line, o.Path, "%s", remark)
	}
}

// locate returns what stands behind a key, and in which line. A section that is
// only a part of longer names begins where the first of them stands.
func (t *tomlReader) locate(p toml.Primitive) (data any, line int) {
	var c catcher
	err := t.meta.PrimitiveDecode(p, &c)
	if e := (toml.ParseError{}); errors.As(err, &e) {
		line = e.Position.Line
	}
	var inner keys
	if _, ok := c.data.(map[string]any); ok && line == 0 && t.meta.PrimitiveDecode(p, &inner) == nil {
		for _, part := range inner {
			if _, at := t.locate(part); line == 0 || at < line {
				line = at
			}
		}
	}
	return c.data, line
}

// catcher takes any value and fails, since the library tells a key's line only
// in an error.
type catcher struct{ data any }

var errCaught = errors.New("caught")

// UnmarshalTOML implements toml.Unmarshaler.
func (c *catcher) UnmarshalTOML(data any) error {
	c.data = data
	return errCaught
}
