// Package version tells which version of the programs this is, however they were built:
// by make in a checkout, from a release's archive, by go build or by go install.
//
// This file owns who is believed. It must never guess.
package version

import (
	"cmp"
	_ "embed"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Set by the linker: what make knows of a checkout, or its user says. Each counts before all
// else, unless it is empty.
var name, date string

// archive is written by git archive, on which .gitattributes calls: lines of a tag that
// was there or near, the commit, and its time in seconds. Elsewhere it is as it is here.
//
//go:embed archive.txt
var archive string

// Name returns the version, "devel" if nothing tells it: without parentheses, which would
// upset readers of the state file.
func Name() string {
	told, _ := read()
	return cmp.Or(name, told, "devel")
}

// Date returns the time of the commit, "unknown" if nothing tells it.
func Date() string {
	_, told := read()
	return cmp.Or(date, told, "unknown")
}

func read() (name, date string) {
	if name, date = archived(archive); name != "" {
		return name, date
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		return recorded(b)
	}
	return "", ""
}

// archived reads what git archive wrote. An old git leaves what it does not know as it is.
func archived(text string) (name, date string) {
	lines := strings.Split(text, "\n")
	if len(lines) < 3 || strings.HasPrefix(lines[1], "$") {
		return "", ""
	}
	name = lines[0]
	if name == "" || strings.HasPrefix(name, "%") {
		name = lines[1]
	}
	if seconds, err := strconv.ParseInt(lines[2], 10, 64); err == nil {
		date = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	return name, date
}

// recorded reads what go build knows of a checkout, or go install of a module.
func recorded(b *debug.BuildInfo) (name, date string) {
	if name = b.Main.Version; name == "(devel)" {
		name = ""
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.time" {
			return name, s.Value
		}
	}
	// That of a commit without a tag has its time (go.dev/ref/mod, Pseudo-versions).
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '.' || r == '+' }) {
		if t, err := time.Parse("20060102150405", word); err == nil {
			return name, t.Format(time.RFC3339)
		}
	}
	return name, ""
}
