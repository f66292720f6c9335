// From a file to a Config. This file owns telling the two syntaxes apart and
// what is said about a configuration as a whole. It must never judge whether
// the family could start with it: that is check.go.

package config

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// largest is far more than all options with all comments.
const largest = 256 << 10

// Read reads the file at path for a family that is to start with it, or to go on with
// it: Load, and Check. The error is an *Invalid.
func Read(path string) (*Config, []Warning, error) {
	c, warnings, err := Load(path)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return nil, warnings, &Invalid{err}
	}
	return c, warnings, nil
}

// Invalid is the error of a configuration no family can start with.
type Invalid struct{ Err error }

func (i *Invalid) Error() string { return i.Err.Error() }

// Unwrap returns what was found.
func (i *Invalid) Unwrap() error { return i.Err }

// Load reads the file at path. See Parse.
func Load(path string) (*Config, []Warning, error) {
	text, err := read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// read reads a file, and no more of one than tells that it is too large. It waits for
// nobody: what is no file, such as a pipe, is an error.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return io.ReadAll(io.LimitReader(f, largest+1))
}

// Parse reads a configuration in either syntax. name stands in errors and
// warnings. The error joins one *Error for each thing that is wrong; the
// Config is nil then. Whether the family can start with it tells Check.
func Parse(name string, text []byte) (*Config, []Warning, error) {
	r := &report{file: name}
	if len(text) > largest {
		return nil, nil, &Error{File: name, Text: fmt.Sprintf("is larger than %d octets", largest)}
	}
	c := Default()
	if all := strings.TrimPrefix(string(text), "\ufeff"); isTOML(all) {
		c = NewSite()
		r.parseTOML(c, all)
	} else {
		r.parseLegacy(c, all)
	}
	if err := r.err(); err != nil {
		return nil, r.sorted(), err
	}
	r.settle(c)
	return c, r.sorted(), nil
}

// isTOML decides by the first line that says anything: a section or "key =".
// The old syntax has neither, and what we print in it begins with mode, which
// takes no value that begins with "=".
func isTOML(text string) bool {
	for row := range strings.SplitSeq(text, "\n") {
		row = strings.Trim(row, blanks+"\r")
		if row == "" || row[0] == '#' {
			continue
		}
		key, _, equals := strings.Cut(row, "=")
		key = strings.TrimRight(key, blanks)
		return row[0] == '[' || equals && key != "" && !strings.ContainsAny(key, blanks+";")
	}
	return false
}

// leastPipeline is what smaller values of pipeline_size become.
const leastPipeline = 16

// settle puts right what the old daemon put right, and says what an admin
// should know about options that were changed.
func (r *report) settle(c *Config) {
	if c.PipelineSize < leastPipeline {
		r.warnf(0, c.Called("pipeline_size"), "%d is too small, %d is used", c.PipelineSize, leastPipeline)
		c.PipelineSize = leastPipeline
	}
	for _, o := range table(c) {
		if o.Value() == o.Default() {
			continue
		}
		if o.Remark != "" {
			r.warnf(0, c.Called(o.Name), "%s", o.Remark)
		}
	}
	if u := c.User(imsg.Session); u == c.User(imsg.Lockd) || u == c.User(imsg.Action) || c.User(imsg.Lockd) == c.User(imsg.Action) {
		r.warnf(0, "", "%s", c.Speak("the rooms for sessions, locks and the action script should have users of their own: set {user_session}, {user_lock} and {user_action}, or leave out {set_user}; {spool_path}, {lock_path} and what {action_script} works with must then be open to the new users. Who comes from 1.4 does that later: smtp-gated-migration(7)"))
	}
}
