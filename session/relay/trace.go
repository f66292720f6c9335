package relay

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what an operator is shown of a session: which lines, in which order, and
// what they look like. What of a line is not for him stands in redact.go.

// Trace shows an operator what both sides say, and what becomes of it. Its methods do
// nothing where there is none: a session that nobody looks at pays for a look at nil.
type Trace struct {
	facts  *Facts
	to     Tracer
	begun  bool
	runs   [len(ways)]run
	hidden secrets
	named  bool // the next AUTH response is a name
}

// Tracer takes the lines of a trace, without their ends. It must not wait, nor keep them.
type Tracer interface {
	TraceLine(line []byte)
	// Now is how long there has been a session.
	Now() time.Duration
}

// way is who speaks to whom.
type way uint8

const (
	fromClient way = iota
	toServer
	fromServer
	toClient
)

var ways = [...]string{
	fromClient: "client > gate", toServer: "gate > server", fromServer: "server > gate", toClient: "gate > client",
}

// run is octets that nobody is shown, how many have come in a row, and when the last of
// them did.
type run struct {
	n  int64
	at time.Duration
}

// NewTrace returns the trace of a session; facts are what they are when it has its first
// line.
func NewTrace(facts *Facts, to Tracer) *Trace { return &Trace{facts: facts, to: to} }

// put hands a line on.
func (t *Trace) put(at time.Duration, who string, text []byte) {
	t.to.TraceLine(fmt.Appendf(nil, "%d %6d ms  %-13s  %s", t.facts.Number, at.Milliseconds(), who, text))
}

// note is a line of our own.
func (t *Trace) note(text string) { t.line("", []byte(text)) }

// line is a line behind all that came before it.
func (t *Trace) line(who string, text []byte) {
	if !t.begun {
		t.begun = true
		f := t.facts
		began := [...]string{Client: "in clear", Server: "in clear"}
		for side, tls := range f.Secured {
			if tls {
				began[side] = "in TLS"
			}
		}
		head := fmt.Appendf(nil, "session %s at %s: client %s %s, accepted at %s, server %s %s", f.ID(), f.Started.UTC().Format("2006-01-02T15:04:05.000Z"),
			f.Client, began[Client], f.Local, f.Target, began[Server])
		if f.Ident != "" {
			head = smtp.AppendPrintable(append(head, ", ident "...), []byte(f.Ident))
		}
		t.put(0, "", head)
	}
	for w := range t.runs {
		if r := &t.runs[w]; r.n > 0 {
			t.put(r.at, ways[w], appendOctets(nil, r.n))
			*r = run{}
		}
	}
	t.put(t.to.Now(), who, text)
}

// octets are n of a message, or of what nobody here reads. They make one line together
// with those behind them.
func (t *Trace) octets(w way, n int) {
	if t != nil && n > 0 {
		r := &t.runs[w]
		r.n += int64(n)
		r.at = t.to.Now()
	}
}

// Moved are octets of a direct proxy.
func (t *Trace) Moved(from Side, n int) {
	if from == Client {
		t.octets(fromClient, n)
		t.octets(toServer, n)
	} else {
		t.octets(fromServer, n)
		t.octets(toClient, n)
	}
}

// heard is a line of the client's; n octets were read for it.
func (t *Trace) heard(line []byte, n int, status smtp.LineStatus, response bool) {
	switch {
	case t == nil:
	case status == smtp.LineMore:
		t.octets(fromClient, n)
	case response:
		t.response(fromClient, line)
	case status == smtp.LineOK:
		t.command(fromClient, line)
	default:
		t.hidden.learn(line)
		t.line(ways[fromClient], append(appendOctets(nil, int64(n)), " that are no command line"...))
	}
}

// command is a line of commands.
func (t *Trace) command(w way, line []byte) {
	if t != nil {
		t.line(ways[w], t.appendCommand(nil, line))
	}
}

// commands are lines of commands, with their ends.
func (t *Trace) commands(w way, lines []byte) {
	if t != nil {
		for line := range bytes.Lines(lines) {
			t.command(w, bytes.TrimRight(line, "\r\n"))
		}
	}
}

// response is what a client says when it is asked for a password.
func (t *Trace) response(w way, line []byte) {
	if t == nil {
		return
	}
	if w == fromClient {
		t.learnResponse(line)
	}
	t.line(ways[w], appendOctets(nil, int64(len(line))))
}

// reply is a line of a reply to a command of a kind.
func (t *Trace) reply(w way, k kind, r *smtp.Reply) {
	if t == nil {
		return
	}
	line := strconv.AppendInt(nil, int64(r.Code), 10)
	switch {
	case !r.Last:
		line = append(line, '-')
	case len(r.Text) > 0:
		line = append(line, ' ')
	}
	t.line(ways[w], t.appendReply(line, k, r))
}

// own are lines of replies, with their ends.
func (t *Trace) own(lines []byte) {
	if t == nil {
		return
	}
	for line := range bytes.Lines(lines) {
		r, err := smtp.ParseReply(bytes.Clone(bytes.TrimRight(line, "\r\n")))
		if err != nil {
			t.line(ways[toClient], appendOctets(nil, int64(len(line))))
			continue
		}
		t.reply(toClient, own, &r)
	}
}

// nonsense are octets of the server's that are no reply.
func (t *Trace) nonsense(n int) {
	if t != nil {
		t.line(ways[fromServer], append(appendOctets(nil, int64(n)), " that are no reply"...))
	}
}

// secured is that a side has TLS from now on, or why it has not: problem is empty if it
// has.
func (t *Trace) secured(side Side, problem string) {
	if t == nil {
		return
	}
	who := [...]string{Client: "client", Server: "server"}[side]
	if problem != "" {
		t.note("no TLS with the " + who + ": " + printable([]byte(problem)))
		return
	}
	t.note("TLS with the " + who)
}

// Refused is what a client hears in place of a greeting.
func (t *Trace) Refused(lines []byte) { t.own(lines) }

// End is the trace's last line: by whom the session was closed.
func (t *Trace) End(by string) {
	if t != nil {
		t.note("closed by " + by)
	}
}
