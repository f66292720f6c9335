// The control sockets, seen from the operator's side. This file owns how the
// daemon is reached and how its refusals are worded. It must never print.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

const (
	// answerTime is for questions lockd answers by itself; it asks each worker
	// for at most a second.
	answerTime = 10 * time.Second
	// reloadTime is for a reload, which ends when the new rooms are ready.
	reloadTime = 2 * time.Minute
)

// longestList is how long a list may become, in entries. It ends if the daemon's lockd has
// been taken over, too, and says that there are more for ever.
const longestList = 1 << 20

var errEndless = errors.New("the list has no end")

// control is a connection to the daemon.
type control struct {
	*link.Conn
	ended   chan error // what ended the link; nil for a plain end
	longest int        // list
	syntax  func() (toml bool)
}

// paths returns where the daemon is reached, as the command line has it: the control
// socket, and behind it the read socket, if that is not what is given.
func (t *tool) paths() ([]string, error) {
	switch {
	case t.known != nil: // whatever has become of the file since
		return t.known, nil
	case t.socket != "":
		return []string{t.socket}, nil
	case t.config == "":
		return config.Default().ControlPaths(), nil
	}
	c, _, err := config.Load(t.config)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", errConfig, err)
	}
	t.known = c.ControlPaths()
	return t.known, nil
}

// dial connects to the daemon to give an order.
func (t *tool) dial() (*control, error) {
	paths, err := t.paths()
	if err != nil {
		return nil, err
	}
	return dial(paths[0])
}

// look connects to the daemon to see something: by the read socket, where the control
// socket is not for this user.
func (t *tool) look() (*control, error) {
	paths, err := t.paths()
	if err != nil {
		return nil, err
	}
	return dial(paths...)
}

func dial(paths ...string) (*control, error) {
	conn, err := link.Dial(paths...)
	if err != nil {
		return nil, err
	}
	c := &control{Conn: conn, ended: make(chan error, 1), longest: longestList}
	c.syntax = sync.OnceValue(func() bool {
		r, err := ask(c, &imsg.Status{}, answerTime)
		return err != nil || r.Family.TOML
	})
	go func() {
		c.ended <- conn.Serve(func(r link.Request) { r.Close() })
	}()
	return c, nil
}

// ask puts a question.
func ask[A any](c *control, q imsg.Question[A], timeout time.Duration, files ...*os.File) (*A, error) {
	return askUntil(context.Background(), c, q, timeout, files...)
}

// askUntil puts a question, and gives it up when ctx ends.
func askUntil[A any](ctx context.Context, c *control, q imsg.Question[A], timeout time.Duration, files ...*os.File) (*A, error) {
	a, err := link.AskUntil(c, ctx.Done(), q, timeout, files...)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, c.explain(err)
	}
	return a, nil
}

// order asks for something to be done and returns what the daemon says of it.
func (c *control) order(q imsg.Question[imsg.Done], timeout time.Duration, files ...*os.File) (detail string, err error) {
	done, err := ask(c, q, timeout, files...)
	if err != nil {
		return "", err
	}
	if done.Errno == 0 {
		return done.Detail, nil
	}
	if done.Detail == "" {
		return "", done.Errno
	}
	return "", refused{done.Errno, c.spell(done.Detail)}
}

// spell names the options in a text of the daemon's as its file does.
func (c *control) spell(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return config.Speak(text, c.syntax())
}

// refused is a refusal with the daemon's own words.
type refused struct {
	kind   imsg.Errno
	detail string
}

func (r refused) Error() string { return r.detail }
func (r refused) Unwrap() error { return r.kind }

// undecided tells whether an order that has failed may have been carried out: nobody has
// answered.
func undecided(err error) bool {
	var no refused
	return !errors.As(err, &no) && (errors.Is(err, imsg.Gone) || errors.Is(err, imsg.Timeout))
}

// explain words what went wrong with a question.
func (c *control) explain(err error) error {
	switch err {
	case imsg.Gone:
		// The link's own end says more than the open question's.
		select {
		case cause := <-c.ended:
			c.ended <- cause
			if errors.Is(cause, link.ErrBadMessage) {
				return fmt.Errorf("the daemon speaks otherwise than this smtp-gatectl %s: use the one installed with it (%w)", version.Name(), cause)
			}
		case <-time.After(time.Second):
		}
		return fmt.Errorf("the daemon hung up before it answered: it ended, has too many operators, or is not of this version (%s): %w", version.Name(), err)
	case imsg.Timeout:
		return fmt.Errorf("the daemon did not answer: %w", err)
	case imsg.ReadOnly:
		return fmt.Errorf("%w: an order goes over the control socket, for who may use that", err)
	case imsg.Busy:
		return fmt.Errorf("the daemon is busy, try again: %w", err)
	}
	return err
}
