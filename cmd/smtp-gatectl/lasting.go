// How long something is to last, as the command line has it.

package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// lasting is a flag's duration: one of Go's, as 90m, that may begin with days, as 30d and
// 1d12h. Its least is a second.
type lasting struct {
	time.Duration
	most time.Duration
}

const day = 24 * time.Hour

// Set implements pflag.Value.
func (l *lasting) Set(text string) error {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	var d time.Duration
	if err == nil && (rest != "" || !found) {
		d, err = time.ParseDuration(rest)
	}
	if d += time.Duration(n) * day; err != nil || strings.HasPrefix(rest, "-") || d < time.Second || d > l.most {
		return l.wrong()
	}
	l.Duration = d
	return nil
}

func (l *lasting) wrong() error {
	return errors.New("it is a time as 90m, 2h or 30d, from a second to " + strconv.Itoa(int(l.most/day)) + "d")
}

// String implements pflag.Value.
func (l *lasting) String() string {
	if l.Duration == 0 {
		return ""
	}
	return l.Duration.String()
}

// Type implements pflag.Value.
func (l *lasting) Type() string { return "time" }
