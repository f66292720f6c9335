// What a probe says: a state, what was seen, and what to do.

package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// state is how something is, the worst last.
type state int

const (
	skipped state = iota // it could not be tried
	good
	warning
	bad
)

func (s state) String() string {
	return [...]string{skipped: "skipped", good: "green", warning: "warning", bad: "red"}[s]
}

// MarshalJSON implements json.Marshaler.
func (s state) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Error makes a state the outcome of the command.
func (s state) Error() string { return s.String() }

// exitStatus is what a monitor goes by, as that of status --check.
func (s state) exitStatus() int {
	switch s {
	case bad:
		return exitDown
	case warning:
		return exitDegraded
	}
	return exitOK
}

func (s state) paint(ink ink) string {
	word := fmt.Sprintf("%-7s", s)
	switch s {
	case good:
		return ink.good(word)
	case warning:
		return ink.paint("33", word)
	case bad:
		return ink.bad(word)
	}
	return word
}

// result is one, in its JSON form.
type result struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	State  state  `json:"state"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`

	probe *probe
}

func green(id, format string, args ...any) result {
	return result{ID: id, State: good, Text: fmt.Sprintf(format, args...)}
}

func warn(id, remedy, format string, args ...any) result {
	return result{ID: id, State: warning, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func red(id, remedy, format string, args ...any) result {
	return result{ID: id, State: bad, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func skip(id, format string, args ...any) result {
	return result{ID: id, State: skipped, Text: fmt.Sprintf(format, args...)}
}

// called tells whether a word of --only means a result. One that stands for all objects,
// for there are none, or none can be tried, is meant by each.
func (r result) called(word string) bool {
	return word == r.ID || r.probe.named(word) || r.ID == r.probe.plainID() && r.probe.has(word)
}

// idOf puts an object's name in the place of the word in capitals of a probe's id.
func idOf(id, object string) string {
	return placeholder.ReplaceAllLiteralString(id, tame(object))
}

// tame makes a name one that an id can have.
func tame(object string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', strings.ContainsRune(".:-_", r):
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.TrimSuffix(object, "."))
}
