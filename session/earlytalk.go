// What a client says before it may, and what it says that is no SMTP. This file
// owns what is early talk, an event, and what looks like it but comes of a user's
// impatience or settings.

package session

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// refuseEarlyTalk ends a client that did not wait for the greeting. A QUIT is no early
// talk: a user's program gives up so when a greeting is slow. All else is, be it
// an HTTP request, a PROXY header or an empty line: no mail program says them.
func (s *session) refuseEarlyTalk(line []byte, status smtp.LineStatus) step {
	if status == smtp.LineOK {
		if cmd, err := smtp.ParseCommand(line); err == nil && cmd.Verb == smtp.QUIT {
			return s.closeEarly("client", smtp.CodeBye, imsg.MsgSignOff)
		}
	}
	s.info("FOUND:EARLYTALK src=" + s.src.Addr().String() + " ident=" + s.ident)
	s.w.count(imsg.CountEarlyTalk, 1)
	s.reportOffence(imsg.FoundEarlyTalk, "", 0, "")
	return s.closeEarly("error", smtp.CodeRejected, imsg.MsgEarlytalker)
}

// refuseTLS ends a client that speaks TLS at once: a setting of a user's program,
// and no event.
func (s *session) refuseTLS(out *[]byte) step {
	s.info("TLS:REFUSED", "src", s.src.Addr(), "ident", s.ident)
	if s.greeted.Load() {
		return s.refuseAndClose(out, smtp.CodeRejected, s.text(imsg.MsgTLSHello))
	}
	return s.closeEarly("error", smtp.CodeRejected, imsg.MsgTLSHello)
}

// closeEarly answers in place of the greeting, and closes both sides.
func (s *session) closeEarly(by string, code smtp.Code, text imsg.Text) step {
	if s.claim(by) {
		s.say(code, s.text(text))
		s.finish(by)
	}
	return stop
}

// startsTLS tells whether a client's first octets are a TLS record: a handshake
// (22) of a version 3 (RFC 8446, 5.1), which SMTP has no use for. It is not known
// as long as there is but the first of them.
func startsTLS(in []byte) (tls, known bool) {
	const handshake, version = 22, 3
	if in[0] != handshake {
		return false, true
	}
	return len(in) > 1 && in[1] == version, len(in) > 1
}
