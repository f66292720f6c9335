// A process of ours that stands where a room does: with its user, its groups and its root
// directory, by the code by which rooms get there. It tries what the room would do and says
// what came of it. It must leave nothing behind.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// inRoom is the first argument of such a process; the others are those of a
// sandbox.Spec.
const inRoom = "-x"

// The attempts there are.
const (
	toWork    = "work"    // make, list and remove files in a folder
	toPass    = "pass"    // go through a folder
	toRun     = "run"     // run a program
	toConnect = "connect" // to Network and Path
	toTalk    = "talk"    // SMTP, see talk
)

// attempt is something to try.
type attempt struct {
	Kind, Path string
	Network    string `json:",omitempty"` // of toConnect
	Talk       *call  `json:",omitempty"` // of toTalk
}

// tried is what came of one: an empty error is success.
type tried struct {
	Error string `json:",omitempty"`
	Talk  *talk  `json:",omitempty"`
}

// lookFromRoom is main of such a process. Each line that it reads is an attempt, and each
// line that it writes what came of it.
func lookFromRoom(args []string, in io.Reader, out, errs io.Writer) int {
	spec, err := sandbox.Parse(args)
	if err == nil {
		_, err = spec.Enter()
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var a attempt
		if err := lines.Decode(&a); err != nil {
			return exitOK // the end
		}
		var t tried
		if a.Kind == toTalk && a.Talk != nil {
			t.Talk, err = a.Talk.hold(func(first *talk) error {
				if err := answers.Encode(tried{Talk: first}); err != nil {
					return err
				}
				return lines.Decode(new(attempt)) // until we are to go on
			})
		} else {
			err = a.try()
		}
		if err != nil {
			t.Error = err.Error()
		}
		if err := answers.Encode(t); err != nil {
			return exitFailed
		}
	}
}

func (a *attempt) try() error {
	switch a.Kind {
	case toWork:
		if err := unix.Access(a.Path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
			return err
		}
		return makeNothing(a.Path)
	case toPass, toRun:
		return unix.Access(a.Path, unix.X_OK)
	case toConnect:
		c, err := net.DialTimeout(a.Network, a.Path, connectTime)
		if err != nil {
			return plainly(err)
		}
		return c.Close()
	}
	return fmt.Errorf("nobody knows how to %s", a.Kind)
}

const connectTime = 5 * time.Second

// plainly is an error of the network without what was dialled, which our caller knows.
func plainly(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	if sys := (*os.SyscallError)(nil); errors.As(err, &sys) {
		err = sys.Err
	}
	return err
}

// standIn is such a process that runs.
type standIn struct {
	process *exec.Cmd
	errs    bytes.Buffer
	in      io.WriteCloser
	say     *json.Encoder
	hear    *json.Decoder
	failed  error
}

// standAt starts one that stands where a room does. file, if there is one, is its third
// descriptor.
func standAt(ctx context.Context, v site.View, file *os.File) (*standIn, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &standIn{process: exec.CommandContext(ctx, self, append([]string{inRoom}, v.Spec.Args()...)...)}
	s.process.Env = []string{}
	s.process.Dir = "/"
	s.process.Stderr = &s.errs
	s.process.WaitDelay = time.Second
	// An interrupt is for us: the context ends it.
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if file != nil {
		s.process.ExtraFiles = []*os.File{file}
	}
	out, err := s.process.StdoutPipe()
	if err == nil {
		s.in, err = s.process.StdinPipe()
	}
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("look as room %s: %w", v.Name, err)
	}
	s.say, s.hear = json.NewEncoder(s.in), json.NewDecoder(out)
	return s, nil
}

// try has one thing tried. err is that we do not know what came of it.
func (s *standIn) try(a attempt) (t tried, err error) {
	if s.failed != nil {
		return t, s.failed
	}
	if err = s.say.Encode(a); err == nil {
		err = s.hear.Decode(&t)
	}
	if err != nil {
		s.failed = err
		s.process.Process.Kill()
		s.process.Wait()
		if words := bytes.TrimSpace(s.errs.Bytes()); len(words) > 0 {
			s.failed = errors.New(string(words))
		}
	}
	return t, s.failed
}

// dismiss ends it.
func (s *standIn) dismiss() {
	if s.failed == nil {
		s.in.Close()
		s.process.Wait()
	}
}
