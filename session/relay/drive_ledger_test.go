package relay

import (
	"bytes"
	"fmt"
	"math"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the client's account: what of its octets must get a reply, in which
// order, and which replies came. A client knows from the replies alone what its octets
// mean; so does the ledger.

// unit is what gets one reply.
type unit struct {
	what unitKind
	verb smtp.Verb
	line string // as a server would name it
	done bool   // all of its octets were sent
	last bool   // a chunk that ends its message
}

type unitKind uint8

const (
	greetingUnit unitKind = iota
	lineUnit
	badUnit      // a line that no server may see
	responseUnit // of AUTH
	chunkUnit
	textUnit
	fatalUnit // what ends the session
)

// ledger is the account.
type ledger struct {
	drive       *drive
	in          []byte // sent, and without a meaning yet
	lines       smtp.LineScanner
	body        *smtp.Body // of the text under way
	left        int64      // octets of a chunk to come
	authing     bool
	exchange    smtp.Exchange // of which that is
	spoke       bool
	begins      []byte // that it said from the start, if that is TLS
	dead        bool   // what is sent means nothing any more
	direct      bool
	handshaking bool
	chunked     bool // a message in chunks may be open, or was refused
	units       []unit
	heard       []byte // the start of a line
	begun       int    // lines of the reply under way
	code        int    // of the reply under way, or the last one
	replies     int
	final       bool // no reply may follow
}

func newLedger(d *drive) *ledger {
	l := &ledger{drive: d, units: []unit{{what: greetingUnit, done: true}}}
	l.lines.Bare = bareNewline(d.facts.Config)
	return l
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d replies to %+v", l.replies, l.units)
}

// owes is how many replies are due.
func (l *ledger) owes() (n int) {
	if l.dead || l.final || l.direct {
		return 0
	}
	for i := l.replies; i < len(l.units); i++ {
		if l.units[i].done {
			n++
		}
	}
	return n
}

// say is what the client sends.
func (l *ledger) say(b []byte) {
	l.in = append(l.in, b...)
	if l.drive.tlsPort {
		l.begins = append(l.begins, b...)
	}
	for !l.direct && !l.handshaking && len(l.in) > 0 && l.parse() {
	}
}

// waits tells whether a reply must tell what comes next.
func (l *ledger) waits() bool {
	if len(l.units) <= l.replies {
		return false
	}
	switch u := &l.units[len(l.units)-1]; u.what {
	case responseUnit:
		return true
	case lineUnit:
		return u.verb == smtp.DATA || u.verb == smtp.AUTH || u.verb == smtp.STARTTLS
	}
	return false
}

// parse gives the next octets a meaning. False: more are needed, or a reply.
func (l *ledger) parse() bool {
	switch {
	case l.dead:
		l.in = nil
		return false
	case l.body != nil:
		n, _, _, ev := l.body.Next(l.in, nil, nil)
		if l.in = l.in[n:]; ev == smtp.BodyEnd {
			l.body = nil
			l.finishUnit()
		}
		return true
	case l.left > 0:
		n := min(l.left, int64(len(l.in)))
		l.in = l.in[n:]
		if l.left -= n; l.left == 0 {
			l.finishUnit()
		}
		return true
	case l.waits():
		return false
	}
	if !l.spoke && l.in[0] == 22 {
		if len(l.in) == 1 {
			return false
		}
		if l.in[1] == 3 && !l.drive.relay.Status().Taken {
			l.die()
			return false
		}
	}
	l.spoke = true
	l.lines.Limit = 0
	if l.authing {
		l.lines.Limit = smtp.AuthLimit
	}
	line, n, st := l.lines.Next(l.in)
	if st == smtp.LineMore {
		l.in = l.in[n:]
		return n > 0
	}
	l.line(bytes.Clone(line), st)
	l.in = l.in[n:]
	return true
}

func (l *ledger) die() {
	l.dead = true
	l.units = append(l.units, unit{what: fatalUnit})
}

func (l *ledger) finishUnit() { l.units[len(l.units)-1].done = true }

// line is one line of the client.
func (l *ledger) line(line []byte, st smtp.LineStatus) {
	authing := l.authing
	l.authing = false
	if st == smtp.LineBare {
		l.units = append(l.units, unit{what: fatalUnit, done: true})
		return
	}
	if authing {
		if st == smtp.LineOK {
			l.exchange.Respond(line)
		}
		if st != smtp.LineOK || l.exchange.Unreadable() && l.drive.facts.Config.ByLogin {
			line = []byte("*")
		}
		l.units = append(l.units, unit{what: responseUnit, line: named(line), done: true})
		return
	}
	cmd, err := smtp.ParseCommand(line)
	if st != smtp.LineOK || err != nil {
		l.units = append(l.units, unit{what: badUnit, done: true})
		return
	}
	if cmd.Verb == smtp.AUTH {
		l.exchange = smtp.BeginExchange(cmd.Arg)
	}
	u := unit{what: lineUnit, verb: cmd.Verb, line: named(cmd.Line), done: true}
	if cmd.Verb == smtp.BDAT {
		size, last, _ := smtp.ParseBDAT(cmd.Arg)
		if size == math.MaxInt64 {
			l.die()
			return
		}
		u.what, u.done, u.last, l.left = chunkUnit, size == 0, last, size
	}
	l.units = append(l.units, u)
}

// named is how a line is named in a reply of the model server.
func named(line []byte) string { return string(smtp.AppendPrintable(nil, line[:min(len(line), 100)])) }
