//go:build amd64 || arm64

// The words of stories about system calls that fail:
//
//	injected                         the gate's calls are asked about from its next start on
//	inject ROOM|any CALL[,CALL…] [in=PATH] ERRNO|DURATION [every=N]
//	                                 these fail from now on, or wait before they are made
//	inject off [N]                   each of these has struck N times, or once; none does any more
//	inject lift                      none does any more, struck or not
//	inject end                       all that was launched has ended
//
// A CALL is one that askedAbout knows, or create (openat that may make a file), fork or
// thread. A path stands for all that begin like it.

package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	commands["injected"] = word((*story).injected)
	commands["inject"] = word((*story).inject)
}

func (s *story) injected(*testscript.TestScript, bool, []string) error {
	s.watcher = &supervisor{ended: make(chan struct{})}
	return nil
}

func (s *story) inject(ts *testscript.TestScript, _ bool, args []string) error {
	v, ok := s.watcher.(*supervisor)
	if !ok {
		return errors.New("say injected before the gate starts")
	}
	switch {
	case len(args) == 1 && args[0] == "lift":
		return v.off(ts, 0)
	case len(args) == 1 && args[0] == "end":
		return v.end()
	case len(args) > 0 && len(args) <= 2 && args[0] == "off":
		times := int64(1)
		if len(args) == 2 {
			var err error
			if times, err = strconv.ParseInt(args[1], 10, 64); err != nil {
				return err
			}
		}
		return v.off(ts, times)
	}
	f, err := parseFault(args, s.dir)
	if err == nil {
		v.add(f)
	}
	return err
}

// off ends the faults. One that has struck nobody shows nothing.
func (s *supervisor) off(ts *testscript.TestScript, times int64) error {
	for _, f := range s.all() {
		if err := eventually(fmt.Sprintf("%q strikes too seldom", f.text), func() bool { return f.struck.Load() >= times }); err != nil {
			return err
		}
	}
	for _, f := range s.lift() {
		ts.Logf("%s: struck %d of %d", f.text, f.struck.Load(), f.met.Load())
	}
	return nil
}

func (s *supervisor) end() error {
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
		return errors.New("a process is left")
	}
}
