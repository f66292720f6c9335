// What an engine is. This file owns the table of those that can be made, the
// interface, the message an engine gets and the finding it gives.

package scand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	maxName    = 255 // octets of a virus name
	maxProblem = 500 // octets that word a failure
)

// makers has a row for each engine of imsg.EngineKinds. What it is called with has
// been checked against the engine's row there; at is empty for one that runs here.
// A new engine is a row there, a row here and a file.
var makers = [len(imsg.EngineKinds)]func(c *imsg.EngineConfig, at address, spool string) (engine, error){
	imsg.EngineClamd:   newClamd,
	imsg.EngineMksd:    newMksd,
	imsg.EngineSpamd:   newSpamd,
	imsg.EngineBuiltin: newBuiltin,
}

// newEngine makes an engine; spool is what its host calls the spool directory.
func newEngine(c *imsg.EngineConfig, spool string) (engine, error) {
	kind := c.Engine.Kind()
	switch {
	case kind.Roles == 0:
		return nil, errors.New("unknown type")
	case c.Roles == 0 || c.Roles&^kind.Roles != 0:
		return nil, errors.New("not fit for what it is to be asked")
	case c.Method != imsg.MethodAuto && !slices.Contains(kind.Methods, c.Method):
		return nil, errors.New("unknown method")
	case !kind.Remote():
		return makers[c.Engine](c, address{}, spool)
	}
	at, err := newAddress(c.Socket, c.Name, c.Address)
	if err != nil {
		return nil, err
	}
	switch {
	case at.unix() && !kind.Unix:
		return nil, errors.New("cannot be reached through a UNIX socket")
	case !at.unix() && !kind.TCP:
		return nil, errors.New("cannot be reached over TCP")
	}
	return makers[c.Engine](c, at, spool)
}

// engine looks at messages. scan is called by many goroutines at once and ends
// soon after ctx does. Whatever is not a finding is an error. One that keeps something
// between scans is an io.Closer: scans that are under way at its Close go on.
type engine interface {
	scan(ctx context.Context, m *message) (finding, error)
}

// finding is an engine's word on a message. Its zero value is none.
type finding struct {
	outcome imsg.Outcome // Clean, or Caught where the role is virus
	name    string       // of the virus that was caught
	score   float64      // where the role is spam
}

// message is a spooled message. The engines share its descriptor and so its
// offset: it is read at absolute positions only.
type message struct {
	file  *os.File
	size  int64
	name  string     // in the spool directory
	roles imsg.Roles // what the engine is asked about it
}

// newMessage trusts nothing of what a session says about a message but what the
// descriptor shows too.
func newMessage(q *imsg.Scan, roles imsg.Roles, f *os.File) (*message, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("stat the message: %w", err)
	case !info.Mode().IsRegular():
		return nil, errors.New("the message is no regular file")
	case info.Size() < q.Size:
		return nil, fmt.Errorf("the message has %d octets of %d", info.Size(), q.Size)
	}
	return &message{file: f, size: info.Size(), name: q.Spool, roles: roles}, nil
}

// writeTo sends the whole message; one that has become shorter is an error.
func (m *message) writeTo(w io.Writer) error {
	_, err := io.CopyN(w, io.NewSectionReader(m.file, 0, m.size), m.size)
	if err == io.EOF {
		return errShort
	}
	return err
}

var errShort = errors.New("the message was cut while it was scanned")

// path returns the message's name as a scanner outside our root knows it. The
// session's part of it stands in a command, so it must be plain.
func (m *message) path(spool string) (string, error) {
	plain := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == '_'
	}
	if m.name == "" || m.name[0] == '.' || strings.ContainsFunc(m.name, func(c rune) bool { return !plain(c) }) {
		return "", errors.New("the message has no name that a scanner could be told")
	}
	return strings.TrimSuffix(spool, "/") + "/" + m.name, nil
}

// caught makes a finding of a virus name as a scanner gave it.
func caught(name string) finding {
	return finding{outcome: imsg.Caught, name: imsg.Printable(name, maxName)}
}
