// The arrays of tables: what a file in TOML may say any number of times, as
// [[tls.certificate]]. This file owns the list of them and how each of their tables
// is bound to an element; the old syntax has none. Their keys are options like all
// others, but that their names are their paths.

package config

import (
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Array is one of them, bound to one Config.
type Array struct {
	Path string   // in TOML
	Help string   // one line, for people
	Keys []Option // of a table, with their defaults
	rows func() [][]Option
	add  func() []Option
}

// Arrays returns the list, empty.
func Arrays() []Array { return arrays(NewSite()) }

// arrays binds the list to c.
func arrays(c *Config) []Array {
	return []Array{
		tables("tls.certificate", "a certificate for clients, chosen by the name they ask for; the first is for all others", &c.TLSCertificates, func(e *Certificate) []Option {
			return []Option{
				{Path: "chain", Needed: true, Help: "file of the certificate and those that signed it, in PEM", value: as(&e.Chain, "", file())},
				{Path: "key", Needed: true, Help: "file of its private key, in PEM, which nobody else may read", value: as(&e.Key, "", file())},
			}
		}),
		tables("tls.rule", "another policy for some sessions; the first rule that fits counts", &c.TLS.Rules, func(e *imsg.TLSRule) []Option {
			return []Option{
				{Path: "client", Help: "networks of clients, empty: all", value: as(&e.Client, nil, networks())},
				{Path: "server", Help: "networks of mail servers, empty: all", value: as(&e.Server, nil, networks())},
				{Path: "port", Help: "ports of mail servers, empty: all", value: as(&e.Port, nil, ports())},
				{Path: "policy", Needed: true, Help: "what becomes of STARTTLS then", value: as(&e.Policy, imsg.TLSPass, one(tlsPolicies[1:]))},
			}
		}),
	}
}

func tables[T any](path, help string, at *[]T, keys func(*T) []Option) Array {
	bind := func(e *T) []Option {
		all := keys(e)
		for i := range all {
			all[i].Path = path + "." + all[i].Path
			all[i].Name = all[i].Path
		}
		return all
	}
	return Array{
		Path: path, Help: help, Keys: bind(new(T)),
		rows: func() (rows [][]Option) {
			for i := range *at {
				rows = append(rows, bind(&(*at)[i]))
			}
			return rows
		},
		add: func() []Option {
			*at = append(*at, *new(T))
			options := bind(&(*at)[len(*at)-1])
			for _, o := range options {
				o.reset()
			}
			return options
		},
	}
}

func (a Array) section() string { return a.Path[:strings.LastIndexByte(a.Path, '.')] }

// inline is the array as the value of one key.
func (a Array) inline() string {
	var rows []string
	for _, row := range a.rows() {
		var keys []string
		for _, o := range row {
			keys = append(keys, o.key()+" = "+o.TOML())
		}
		rows = append(rows, "{ "+strings.Join(keys, ", ")+" }")
	}
	return "[" + strings.Join(rows, ", ") + "]"
}

// places returns, of each table [[path]] in text, the lines of its keys, and its own as
// that of "". The library knows those of the last one only, and this is good enough to
// find a fault.
func places(text, path string) (all []map[string]int) {
	number, inside := 0, false
	for line := range strings.SplitSeq(text, "\n") {
		number++
		line = strings.Trim(line, blanks+"\r")
		bare := strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "")
		if strings.HasPrefix(line, "[") {
			name, _, closed := strings.Cut(bare.Replace(line), "]]")
			if inside = closed && name == "[["+path; inside {
				all = append(all, map[string]int{"": number})
			}
		} else if key, _, ok := strings.Cut(line, "="); ok && inside {
			all[len(all)-1][bare.Replace(key)] = number
		}
	}
	return all
}

// Line is where a file says an option of the table with a number, 0 if that is not known.
func (c *Config) Line(option string, table int) int {
	if all := c.lines[option]; table < len(all) {
		return all[table]
	}
	return 0
}

// array reads all tables of one.
func (t *tomlReader) array(a Array, all []any, tables []keys, line int) {
	lines := places(t.text, a.Path)
	at := func(i int, key string) int {
		if len(lines) != len(tables) { // they are written inline
			return line
		}
		if n, ok := lines[i][key]; ok {
			return n
		}
		return lines[i][""]
	}
	for i, table := range tables {
		if _, ok := all[i].(map[string]any); !ok { // the library takes it for an empty one
			t.errorf(at(i, ""), a.Path, "is a list of tables, each written [[%s]]", a.Path)
			return
		}
		options := map[string]Option{}
		needed := a.add()
		for _, o := range needed {
			t.lines[o.Path] = append(t.lines[o.Path], at(i, o.key()))
		}
		for _, o := range needed {
			options[o.key()] = o
		}
		for key, primitive := range table {
			o, known := options[key]
			if !known {
				t.errorf(at(i, key), shown(a.Path+"."+key), "unknown key")
				continue
			}
			data, _ := t.locate(primitive)
			t.option(o, data, at(i, key))
		}
		for _, o := range needed {
			if _, said := table[o.key()]; o.Needed && !said {
				t.errorf(at(i, ""), o.Path, "is missing (accepted: %s)", o.AcceptedTOML())
			}
		}
	}
}

// legend is the comment for an array that is empty.
func (a Array) legend() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n# Any number of tables [[%s]]: %s\n", a.Path, a.Help)
	for _, o := range a.Keys {
		fmt.Fprintf(&b, "#   %s: %s\n#     %s\n", o.key(), o.Help, o.legend(true))
	}
	return b.String()
}
