// The words of stories about findings:
//
//	finds N PATTERN…      wait until status --check exits with N and has a line like each
//	shut NAME, open NAME  nobody gets in to the server or scanner, or again
//	behaves HOW AT        it misbehaves there from now on; without words it is well again
//	tells PATTERN         wait until the service manager is told so

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	commands["finds"] = word((*story).finds)
	commands["shut"] = word(func(s *story, _ *testscript.TestScript, _ bool, args []string) error { return s.doors[args[0]].close() })
	commands["open"] = word(func(s *story, _ *testscript.TestScript, _ bool, args []string) error { return s.doors[args[0]].open() })
	commands["behaves"] = word((*story).behaves)
	commands["tells"] = word((*story).tells)
}

// TestFindings: each finding is raised by what really goes wrong, and ends when that is
// well again. A daemon that is in a hurry takes a second for a minute.
func TestFindings(t *testing.T) {
	daemon := playing(t, "-X github.com/smtp-gated/smtp-gated/lockd.quiet=1s -X github.com/smtp-gated/smtp-gated/parent.pairsEvery=1s")
	tell(t, filepath.Join("testdata", "findings"), func(s *story) { s.daemon = daemon })
}

func (s *story) finds(ts *testscript.TestScript, _ bool, args []string) error {
	var out []byte
	var status int
	err := eventually("that is not found", func() bool {
		cmd := s.command(program("smtp-gatectl"), "--socket", s.path("run/control"), "status", "--check")
		var err error
		out, err = cmd.Output()
		status = 0
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			return false
		}
		return fmt.Sprint(status) == args[0] && !slices.ContainsFunc(args[1:], func(pattern string) bool { return !matches(pattern, string(out)) })
	})
	ts.Logf("[%d]\n%s", status, out)
	return err
}

func (s *story) behaves(_ *testscript.TestScript, _ bool, args []string) error {
	switch len(args) {
	case 0:
		s.manners.behave("", "")
	case 2:
		s.manners.behave(args[0], args[1])
	default:
		return errTelling
	}
	return nil
}

func (s *story) tells(_ *testscript.TestScript, _ bool, args []string) error {
	pattern := strings.Join(args, " ")
	buf := make([]byte, 4096)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		s.notify.SetReadDeadline(end)
		n, err := s.notify.Read(buf)
		if err != nil {
			return fmt.Errorf("nobody tells the service manager %s: %w", pattern, err)
		}
		s.count(string(buf[:n]))
		if matches(pattern, string(buf[:n])) {
			return nil
		}
	}
	return fmt.Errorf("nobody tells the service manager %s", pattern)
}
