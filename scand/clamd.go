// The engine that asks clamd (clamd(8), section COMMANDS). Commands have the form
// z, ended by NUL, and so have their answers; how they follow each other on a connection
// stands in idsession.go. SCAN has the form it had before there were others, a line on a
// connection of its own: some who speak that are not clamd.

package scand

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

type clamd struct {
	at     address
	method imsg.Method
	spool  string
	kept   kept
}

func newClamd(c *imsg.EngineConfig, at address, spool string) (engine, error) {
	method := c.Method
	switch {
	case method == imsg.MethodAuto && at.unix():
		method = imsg.MethodFildes
	case method == imsg.MethodAuto:
		method = imsg.MethodInstream
	case method == imsg.MethodFildes && !at.unix():
		return nil, errors.New("a descriptor can be handed over through a UNIX socket only")
	}
	return &clamd{at: at, method: method, spool: spool}, nil
}

func (c *clamd) scan(ctx context.Context, m *message) (f finding, err error) {
	if c.method == imsg.MethodScan {
		f, err = c.tell(ctx, m)
	} else {
		f, err = c.converse(ctx, m)
	}
	if err != nil {
		return finding{}, fmt.Errorf("clamd: %w", err)
	}
	return f, nil
}

// pauses tells whether a scan may be work in a loop: it sends no file, and connects at once.
func (c *clamd) pauses() bool { return c.method == imsg.MethodFildes }

// Close ends the connections that are kept.
func (c *clamd) Close() error {
	c.kept.end()
	return nil
}

// tell tells clamd where the message lies, over a connection of its own.
func (c *clamd) tell(ctx context.Context, m *message) (finding, error) {
	path, err := m.path(c.spool)
	if err != nil {
		return finding{}, err
	}
	answer, sendErr, err := c.at.ask(ctx, -1, func(conn *conn) error {
		return conn.send([]byte("SCAN "+path+"\n"), nil)
	})
	if err != nil {
		return finding{}, err
	}
	f, err := parseClamd(string(answer), "\n")
	if err == nil && f.outcome != imsg.Caught {
		err = sendErr
	}
	return f, err
}

// parseClamd reads a whole answer, of which each line ends in end. One that ends in
// LF is whole when the connection is closed, its last LF or none. clamd may send a
// line twice. Lines that differ are no answer, unless one of them names a virus.
func parseClamd(answer, end string) (finding, error) {
	text, whole := strings.CutSuffix(answer, end)
	if !whole && end == "\x00" {
		return finding{}, fmt.Errorf("cut answer %q", imsg.Printable(answer, maxName))
	}
	var first finding
	var problem error
	differ := false
	lines := strings.Split(text, end)
	for i, line := range lines {
		f, err := parseClamdLine(strings.TrimSuffix(line, "\r"))
		if f.outcome == imsg.Caught {
			return f, nil
		}
		if i == 0 {
			first, problem = f, err
		}
		differ = differ || line != lines[0]
	}
	if differ {
		return finding{}, errors.New("more than one answer")
	}
	return first, problem
}

// exceeded begins the names that clamd, with AlertExceedsMax, gives what is beyond one of
// its limits. It has not looked at all of that, and has found nothing.
const exceeded = "Heuristics.Limits.Exceeded"

// parseClamdLine reads `SUBJECT: OK`, `SUBJECT: NAME FOUND`, or what ends in ERROR.
func parseClamdLine(line string) (finding, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return finding{}, errors.New("more than one answer")
	}
	if problem, ok := strings.CutSuffix(line, " ERROR"); ok {
		return finding{}, errors.New(imsg.Printable(problem, maxProblem))
	}
	if i := strings.LastIndex(line, ": "); i > 0 {
		word := line[i+2:]
		if word == "OK" {
			return finding{outcome: imsg.Clean}, nil
		}
		if word == "FOUND" {
			return caught(""), nil // whatever it is called
		}
		name, ok := strings.CutSuffix(word, " FOUND")
		if ok && strings.HasPrefix(name, exceeded) {
			return finding{}, fmt.Errorf("not looked at as a whole: %s", imsg.Printable(name, maxName))
		}
		if ok {
			return caught(name), nil
		}
	}
	return finding{}, fmt.Errorf("unknown answer %q", imsg.Printable(line, maxName))
}
