// Package regex matches what clients say against the administrator's regular
// expressions. They are Perl's; the text is hostile.
//
// This file owns the choice of the engine and its limits. It must never take
// time that grows faster than the text, unless a pattern leaves no other way,
// and must never let the text out in an error. It knows no option and no session:
// what a pattern may be is judged when the configuration is read.
package regex

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/dlclark/regexp2/v2"
)

const (
	// Longest is the most octets of a text that is looked at. No host name and no
	// mailbox comes near it (RFC 5321, 4.5.3.1).
	Longest = 1024

	// patience is what a match may take in the engine that tracks back. Its clock
	// ticks every 100 ms and it waits for one tick more: 250 ms are the real bound.
	patience = 50 * time.Millisecond
)

// Why a text can be neither matched nor not matched. Who asked must refuse it: a
// client could choose it so.
var (
	ErrLong = errors.New("text is too long to be matched")
	ErrTime = errors.New("matching takes too long")
)

// Matcher is a compiled pattern. Any number of goroutines may use one at once.
type Matcher struct {
	linear *regexp.Regexp  // time grows with the text, no more
	perl   *regexp2.Regexp // nil unless the pattern needs what only Perl has
}

// New compiles a pattern: for the engine of linear time if that knows all in it,
// else for the one that has lookaround, back references and the rest of Perl's.
func New(pattern string) (*Matcher, error) {
	if linear, err := regexp.Compile(pattern); err == nil {
		return &Matcher{linear: linear}, nil
	}
	perl, err := regexp2.Compile(pattern, regexp2.RE2)
	if err != nil {
		return nil, fmt.Errorf("compile regular expression: %w", err)
	}
	perl.MatchTimeout = patience
	return &Matcher{perl: perl}, nil
}

// Match tells whether the pattern matches anywhere in text. An error is ErrLong
// or ErrTime.
func (m *Matcher) Match(text []byte) (bool, error) {
	if len(text) > Longest {
		return false, ErrLong
	}
	if m.perl == nil {
		return m.linear.Match(text), nil
	}
	found, err := m.perl.MatchString(string(text))
	if err != nil {
		// Too slow, or too deep: both take a text made for it. The engine's own
		// error holds the text.
		return false, ErrTime
	}
	return found, nil
}
