package relay

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what the client may hear: each reply is matched with what it must be
// the answer to.

// hear is what the client hears.
func (l *ledger) hear(b []byte) {
	if l.direct {
		return
	}
	if l.drive.tlsPort && l.replies == 0 && len(l.heard) == 0 && b[0] == 22 {
		l.direct, l.in = true, l.begins
		return
	}
	l.heard = append(l.heard, b...)
	for {
		line, rest, ok := bytes.Cut(l.heard, []byte("\r\n"))
		if !ok {
			return
		}
		l.replyLine(string(line))
		l.heard = rest
	}
}

// replyLine is one line of a reply.
func (l *ledger) replyLine(line string) {
	code, err := strconv.Atoi(line[:min(3, len(line))])
	switch {
	case err != nil || code < 200 || code > 599 || strings.ContainsAny(line, "\r\n\x00") || len(line) > 3 && line[3] != ' ' && line[3] != '-':
		l.drive.fail("the client hears no reply: %q", line)
	case l.begun > 0 && code != l.code && code != 421 && !(l.drive.loose && code >= 400) && !l.earlyTalk(code):
		l.drive.fail("the codes %d and %d are in one reply", l.code, code)
	case l.final && !l.drive.loose && l.begun == 0:
		l.drive.fail("%q comes behind the last words", line)
	}
	if err == nil {
		l.checkID(code, line)
	}
	l.code = code
	if l.begun++; len(line) > 3 && line[3] == '-' {
		return
	}
	l.begun = 0
	if !l.drive.loose {
		l.reply(line)
	}
	l.replies++
	l.say(nil)
}

// checkID: what we refuse ends in the session's name, if it is to, and nothing else does;
// and the world has been told of a refusal.
func (l *ledger) checkID(code int, line string) {
	d := l.drive
	named, refused := strings.HasSuffix(line, " ("+d.facts.ID()+")"), isOwn(line) && code >= 400
	if named != (refused && d.facts.Config.ReplyID) {
		d.fail("%q has a name, or has none", line)
	}
	if refused && !slices.Contains(d.told, code) && !d.relay.Status().Taken {
		d.fail("nobody was told of %q, but of %v", line, d.told)
	}
}

// earlyTalk tells whether a reply interrupts the greeting, as that to early talk may.
func (l *ledger) earlyTalk(code int) bool {
	return l.drive.facts.Config.EarlyTalk && l.replies == 0 && code == 554
}

// isOwn tells whether a reply is the gateway's.
func isOwn(text string) bool {
	_, text, _ = strings.Cut(text, " ")
	return strings.HasPrefix(strings.TrimLeft(text, "0123456789. "), proxyName+" ")
}

// reply matches a reply with what it must be the answer to.
func (l *ledger) reply(text string) {
	d := l.drive
	if l.code == 421 {
		l.final = true
		return
	}
	if l.replies >= len(l.units) {
		l.fail("nobody owes %q", text)
	}
	u := l.units[l.replies]
	switch {
	case u.what == fatalUnit: // a takeover answers it like any other
		l.final = !d.relay.Status().Taken
		return
	case isOwn(text):
		l.ownReply(u)
	case u.what == greetingUnit:
	case u.what == badUnit:
		l.fail("a server was asked what it must not see: %q", text)
	case u.what == chunkUnit && !strings.Contains(text, "[BDAT "),
		u.what == textUnit && !strings.Contains(text, "[.]") && !strings.Contains(text, "[BDAT 0 LAST]"),
		(u.what == lineUnit || u.what == responseUnit) && !strings.Contains(text, "["+u.line+"]"):
		l.fail("%q is the answer to %+v", text, u)
	}
	if !u.done && u.what == chunkUnit && isOwn(text) && !d.relay.Status().Taken {
		l.fail("%q comes before the octets of %+v", text, u)
	}
	l.learn(u)
}

func (l *ledger) fail(format string, args ...any) {
	l.drive.fail("%s; %s", fmt.Sprintf(format, args...), l)
}

// ownReply holds a reply of the gateway to what it may say of its own.
func (l *ledger) ownReply(u unit) {
	taken := l.drive.relay.Status().Taken
	switch {
	case u.what == greetingUnit:
		l.final = l.code != 220
	case u.verb == smtp.STARTTLS && l.code == 220 && l.ours():
	case l.code/100 == 3, l.code/100 == 2 && !taken && u.what != chunkUnit:
		l.fail("the gateway says %d to %+v", l.code, u)
	case l.code == 503 && !taken && u.what == lineUnit && u.verb != smtp.STARTTLS && !l.chunked:
		l.fail("the gateway says %d to %+v outside chunks", l.code, u)
	}
}

// learn draws from a reply what follows.
func (l *ledger) learn(u unit) {
	switch {
	case u.what == chunkUnit:
		l.chunked = !u.last
	case u.verb == smtp.EHLO, u.verb == smtp.HELO, u.verb == smtp.RSET && l.code == 250:
		l.chunked = false
	case u.verb == smtp.DATA && l.code == 354:
		l.body = &smtp.Body{Bare: bareNewline(l.drive.facts.Config), NoSpool: true}
		if l.drive.facts.Config.RejectNUL {
			l.body.NUL = smtp.RejectNUL
		}
		l.units = append(l.units, unit{what: textUnit})
	case (u.verb == smtp.AUTH || u.what == responseUnit) && l.code == 334:
		l.authing = true
	case (u.verb == smtp.AUTH || u.what == responseUnit) && l.code == 235 && l.drive.facts.Config.AuthSkip&imsg.SkipDirect != 0,
		u.verb == smtp.STARTTLS && l.code == 220 && !l.drive.relay.shared.terminates():
		l.direct = true
	case u.verb == smtp.STARTTLS && l.code == 220:
		l.beginTLS()
	}
}
