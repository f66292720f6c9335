// Names that old versions of the old daemon used. This file owns how such a
// line reads today. The legacy syntax takes them with a warning, TOML never had them.

package config

import (
	"maps"
	"slices"
	"strings"
)

var renames = map[string]string{
	"source_addr":        "outgoing_addr",
	"dumpfile":           "statefile",
	"dumpfile_perm":      "statefile_perm",
	"max_procs":          "max_connections",
	"load_max":           "max_load",
	"timeout_connection": "timeout_idle",
	"lookup_port":        "remote_port",
	"clamd_path":         "antivirus_path",
	"spamd_path":         "antispam_path",
}

// switches of old, each of which is a word of an option today.
var switches = map[string]struct{ option, word, none string }{
	"use_netfilter":      {"mode", "netfilter", ""},
	"leave_on_error":     {"spool_leave_on", "error", "never"},
	"leave_on_virus":     {"spool_leave_on", "virus", "never"},
	"leave_on_spam":      {"spool_leave_on", "spam", "never"},
	"spam_block":         {"lock_on", "spam", "never"},
	"max_per_host_lock":  {"lock_on", "maxhost", "never"},
	"max_per_ident_lock": {"lock_on", "maxident", "never"},
}

// OldForms returns what the legacy syntax takes beside the names of today's
// options: old names, sorted, and the values that made another option of one.
func OldForms() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(renames)), maps.Keys(switches))
	slices.Sort(names)
	return append(names, "nat_header 0", "nat_header 1", "nat_header 2", "spf source")
}

// modern returns today's form of a line, and whether it is another one.
func modern(name, text string) (string, string, bool) {
	if now, ok := renames[name]; ok {
		return now, text, true
	}
	// nat_header was a number before it was a name.
	if name == "nat_header" && (text == "0" || text == "1" || text == "2") {
		return "nat_header_type", text, true
	}
	if name == "spf" && text == "source" {
		return name, "incoming", true
	}
	return name, text, false
}

// turned returns the value an option has after one of its words is switched on
// or off. An option of one word, which has no word for none, is only switched on.
func turned(value, word, none string, on bool) string {
	switch {
	case none == "" && on:
		return word
	case none == "":
		return value
	}
	words := slices.DeleteFunc(list(value), func(w string) bool { return w == word || w == none })
	if on {
		words = append(words, word)
	}
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ",")
}
