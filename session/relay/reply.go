package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what a complete reply tells about the session, and what a reply is
// that nobody asked for.

// record keeps what a complete reply tells about the session.
func (s *server) record(e *entry, r *smtp.Reply) {
	code := r.Code
	ok := code >= 200 && code < 300
	switch e.kind {
	case helo, ehlo:
		if ok {
			s.recordHelo()
		}
		if ok && e.kind == ehlo && s.terminates() && !s.ownTLS() && !s.secured[Server] {
			problem := ""
			if s.offered&smtp.CapStartTLS == 0 {
				problem = errNoTLS.Error()
			}
			s.noteOffer(problem)
		}
	case mail:
		s.noteDemand(mail, r)
		public := s.publicAddress([]byte(e.text), s.Config.LogMailFrom)
		s.recordSender(public, code)
		if ok {
			s.transaction = &transaction{sender: public, address: e.text}
		}
	case rcpt:
		s.noteDemand(rcpt, r)
		s.recordRecipient(e.text, code)
		if ok {
			s.recipients++
			s.inTransaction().recipients++
			s.world.Count(imsg.CountRecipients, 1)
		}
	case rset, ownReset:
		if ok {
			s.endTransaction()
			s.logEnvelope()
		}
	case chunkSent, quietChunk:
		s.recordChunk(e.kind, code)
	case data:
		s.recordData(code)
	case endOfData:
		s.recordEnd(code)
	case auth:
		s.recordAuth(r)
		s.noteDemand(auth, r)
	case starttls:
		s.recordTLS(code)
	}
}

// recordHelo keeps what the server offers now.
func (s *server) recordHelo() {
	s.endTransaction()
	s.logEnvelope()
	s.offered = s.offering
	s.noteMasked()
	if s.offering&smtp.CapAuth != 0 {
		s.auth |= imsg.AuthSupported
	}
	s.offering = 0
}

func (s *server) recordChunk(k kind, code int) {
	s.logEnvelope()
	if code/100 == 2 {
		return
	}
	if m := s.message(); m != nil {
		m.refused, m.answered = true, k == quietChunk
	}
	s.info("DATA:CANCELLED [" + itoa(code) + "]")
}

func (s *server) recordData(code int) {
	s.logEnvelope()
	if code != 354 {
		s.info("DATA:CANCELLED [" + itoa(code) + "]")
		return
	}
	s.transactions++
	s.state = imsg.StateData
	s.debug("DATA:GOING")
}

func (s *server) recordEnd(code int) {
	s.answerPending = false
	s.endTransaction()
	s.world.Count(imsg.CountMessages, 1)
	s.state = imsg.StatePost
	s.info("DATA:FINISHED [" + itoa(code) + "]")
}

func (s *server) recordTLS(code int) {
	if code != 220 {
		s.info("DIRECT:CANCELLED cause=starttls", "code", code)
	}
}

func (s *server) recordAuth(r *smtp.Reply) {
	src := s.Client.Addr()
	switch r.Code {
	case 235:
		s.auth |= imsg.AuthAccepted
		s.world.Count(imsg.CountAuthAccepted, 1)
		s.info("AUTH:ACCEPT", withLogin("login", s.Login, "src", src, "ident", s.Ident)...)
	case 334:
		s.debug("AUTH:CHALLENGE", "src", src, "ident", s.Ident)
	default:
		s.auth |= imsg.AuthRejected
		s.world.Count(imsg.CountAuthRejected, 1)
		s.info("AUTH:REJECT ["+itoa(r.Code)+"]", withLogin("claimed", s.claimed(), "src", src, "ident", s.Ident)...)
		s.world.Tell(imsg.Event{Kind: imsg.EventAuthFail, Claimed: s.claimed(), Code: r.Code, Text: imsg.Printable(string(r.Text), 512)})
	}
}

// unsolicited decides on a 4yz or 5yz that nobody asked for. Between 354 and our end of
// data it is the answer to that message; else, outside a message, it is the server's
// farewell. The server hears nothing more either way.
func (s *server) unsolicited(r *smtp.Reply) {
	switch {
	case s.reading == text, s.reading == verdictPending:
		// The server may go on reading text, or may read commands by now.
		s.rejection = &rejection{early: true, relaying: true}
		s.answers = toMessage
	case s.reading == commands && (s.chunks != openChunks || s.message() == nil):
		if !s.claim("server") {
			return
		}
		s.answers = farewell
	default:
		s.nonsense(errUnsolicited)
		return
	}
	s.setFate(Server, Mute)
	s.relayLast(r)
}

// relayLast relays a line of the reply that is the server's last.
func (s *server) relayLast(r *smtp.Reply) {
	if s.writes(Client) {
		s.Trace.reply(toClient, own, r)
		s.writeLine(Client, r.Line)
	}
	switch {
	case !r.Last:
	case s.answers == toMessage:
		s.info("DATA:CANCELLED [" + itoa(r.Code) + "]")
		s.setFate(Server, Closed)
		s.rejection.text, s.rejection.relaying = truncate(printable(r.Line), smtp.OwnReplyLimit), false
	default:
		s.info("farewell of the server", "code", r.Code, "dst", s.Target)
		s.finish("server")
	}
}
