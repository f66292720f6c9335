// What can be said about a configuration: errors, which keep it out of force,
// and warnings. This file owns how they are worded with their place.

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is one thing that is wrong, at one place.
type Error struct {
	File   string // empty for what concerns no single line
	Line   int    // from 1, 0 if unknown
	Option string // as the file spells it
	Text   string // what is wrong, and what is accepted
}

func (e *Error) Error() string { return place(e.File, e.Line) + named(e.Option) + e.Text }

// Warning is something an admin should know about a configuration that is accepted.
type Warning struct {
	File   string
	Line   int
	Option string
	Text   string
	Fatal  bool // on this machine: what the file says is right, and cannot be put in force
}

func (w Warning) String() string { return place(w.File, w.Line) + named(w.Option) + w.Text }

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return file + ":" + strconv.Itoa(line) + ": "
}

func named(option string) string {
	if option == "" {
		return ""
	}
	return option + ": "
}

// tooMany ends a file that is no configuration at all.
const tooMany = 20

// report collects what is found in one file.
type report struct {
	file     string
	errs     []*Error
	warnings []Warning
}

func (r *report) full() bool { return len(r.errs) >= tooMany }

func (r *report) errorf(line int, option, format string, args ...any) {
	r.errs = append(r.errs, &Error{r.file, line, option, fmt.Sprintf(format, args...)})
}

func (r *report) warnf(line int, option, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{File: r.file, Line: line, Option: option, Text: fmt.Sprintf(format, args...)})
}

// refused is errorf for a value that o does not take.
func (r *report) refused(line int, option string, err error, accepts string) {
	r.errorf(line, option, "%v (accepted: %s)", err, accepts)
}

// err joins the errors in the order of their lines.
func (r *report) err() error {
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, 0, len(r.errs)+1)
	for _, e := range r.errs {
		errs = append(errs, e)
	}
	if r.full() {
		errs = append(errs, &Error{File: r.file, Text: "too many errors, the rest was not read"})
	}
	return errors.Join(errs...)
}

// quoted is a value from a file as it may stand in a message: short, on one line.
func quoted(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}

// sorted returns the warnings in the order of their lines, those about the whole file last.
func (r *report) sorted() []Warning {
	slices.SortStableFunc(r.warnings, func(a, b Warning) int { return cmp.Compare(uint(a.Line-1), uint(b.Line-1)) })
	return r.warnings
}

// saw is what TOML had in place of the value that was wanted.
func saw(data any) string {
	switch data := data.(type) {
	case string:
		return quoted(data)
	case map[string]any, []map[string]any:
		return "a section"
	case []any:
		return "a list"
	}
	return fmt.Sprint(data)
}
