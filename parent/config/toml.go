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
	meta     toml.MetaData
	options  map[string]Option // by path
	sections map[string]bool
	legacy   map[string]Option // by names of the other syntax, for a helpful error
}

// parseTOML reads text into c, which holds the defaults.
func (r *report) parseTOML(c *Config, text string) {
	t := tomlReader{report: r, options: map[string]Option{}, sections: map[string]bool{}}
	all := table(c)
	t.legacy = index(all)
	for _, o := range all {
		t.options[o.Path] = o
		for s := o.section(); s != ""; s = s[:max(0, strings.LastIndexByte(s, '.'))] {
			t.sections[s] = true
		}
	}
	var root map[string]toml.Primitive
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
}

func (t *tomlReader) section(prefix string, keys map[string]toml.Primitive) {
	for key, primitive := range keys {
		if t.full() {
			return
		}
		path := prefix + key
		data, line := t.locate(primitive)
		o, known := t.options[path]
		switch {
		case strings.Contains(key, "."): // quoted, else it were no part of a key
			t.errorf(line, shown(path), "unknown key")
		case known:
			t.option(o, data, line)
		case t.sections[path]:
			var inner map[string]toml.Primitive
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
	var inner map[string]toml.Primitive
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
