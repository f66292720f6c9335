// What becomes of a client's command. This file owns the checks and their order;
// each command ends here as forwarded, answered or the end of the relay.

package session

import (
	"bytes"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// takeLine decides on the next line of commands.
func (s *session) takeLine(out *[]byte) step {
	in := s.client.Bytes()
	if s.skip > 0 {
		n := min(s.skip, int64(len(in)))
		s.skip -= n
		s.client.Consume(int(n))
		if s.skip > 0 || s.sorry == "" {
			return goOn
		}
		line := s.sorry
		s.sorry = ""
		return s.replyLine(line)
	}
	if !s.spoken {
		tls, known := startsTLS(in)
		switch {
		case !known:
			return starve
		case tls:
			return s.refuseTLS(out)
		}
		s.spoken = true
	}
	authing := s.isAuthing()
	s.lines.Limit = 0
	if authing {
		s.lines.Limit = smtp.AuthLimit
	}
	line, n, status := s.lines.Next(in)
	if status == smtp.LineMore {
		s.client.Consume(n)
		return starve
	}
	if s.w.cfg.EarlyTalk && !s.greeted.Load() {
		return s.talksEarly(line, status)
	}
	next := goOn
	switch {
	case status == smtp.LineBare:
		next = s.giveUp(out, smtp.CodeRejected, s.text(imsg.MsgProtoError))
	case authing:
		next = s.response(out, line, status)
	case status != smtp.LineOK:
		next = s.reply(out, smtp.CodeSyntax, s.text(imsg.MsgProtoError))
	default:
		cmd, err := smtp.ParseCommand(line)
		if err != nil {
			next = s.reply(out, smtp.CodeSyntax, s.text(imsg.MsgProtoError))
			break
		}
		next = s.command(out, cmd, len(in) > n)
	}
	if next == stop && s.dismissed() {
		s.skip = 0
		return stop // the takeover reads this command again
	}
	s.client.Consume(n)
	return next
}

func (s *session) isAuthing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authing
}

// response forwards a line of an AUTH exchange (RFC 4954, 4). One that cannot be
// forwarded cancels it, or the server would take the next command for it.
func (s *session) response(out *[]byte, line []byte, status smtp.LineStatus) step {
	if status != smtp.LineOK {
		line = []byte("*")
	}
	s.mu.Lock()
	s.authing = false
	s.mu.Unlock()
	s.forward(out, line, entry{kind: auth}, true)
	return goOn
}

// command decides on one command; more tells that octets follow it already.
func (s *session) command(out *[]byte, cmd smtp.Command, more bool) step {
	cfg := s.w.cfg
	e := entry{kind: kinds[cmd.Verb]}
	hold := false
	switch cmd.Verb {
	case smtp.HELO, smtp.EHLO:
		s.state.Store(uint32(imsg.StateHelo))
		s.helo = clean(cmd.Arg)
		if cfg.LogHelo {
			s.always(cmd.Verb.String(), "src", s.src.Addr(), "ident", s.ident, "helo", s.helo)
		}
		if next := s.checkHelo(out, cmd.Arg); next != goOn {
			return next
		}
		s.leaveChunks(out)
	case smtp.MAIL:
		if s.chunks.state == openChunks && !s.declined.Load() {
			return s.reply(out, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
		}
		s.leaveChunks(out)
		addr, params := smtp.Address(cmd.Arg)
		if keyword, found := s.offer.Refused(params); found {
			return s.refuseMasked(out, keyword, smtp.CodeParameter)
		}
		if next := s.checkMail(out, addr, cmd.Arg); next != goOn {
			return next
		}
		if size, ok := smtp.ParseSize(params); ok && cfg.SizeLimit > 0 && size > cfg.SizeLimit {
			return s.reply(out, smtp.CodeSize, s.text(imsg.MsgSizeLimit))
		}
		e.text = s.address(addr, cfg.LogMailFrom)
	case smtp.RCPT:
		addr, params := smtp.Address(cmd.Arg)
		if keyword, found := s.offer.Refused(params); found {
			return s.refuseMasked(out, keyword, smtp.CodeParameter)
		}
		if over := s.use(out, imsg.RateRecipients, 1, smtp.CodeQuota); over != nil {
			return s.reply(out, over.code, over.text)
		}
		if next := s.checkRcpt(out, addr, cmd.Arg); next != goOn {
			return next
		}
		if cfg.LogRcptTo != 0 {
			e.text = s.address(addr, cfg.LogRcptTo)
		}
	case smtp.DATA:
		if s.chunks.state != noChunks {
			return s.reply(out, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
		}
		if !s.mayMail(out) {
			return s.reply(out, smtp.CodeAuthRequired, s.text(imsg.MsgAuthRequired))
		}
		if over := s.use(out, imsg.RateMessages, 1, smtp.CodeQuota); over != nil {
			return s.reply(out, over.code, over.text)
		}
		s.debug("DATA:REQUEST")
		if err := s.begin(); err != nil {
			return s.noSpool(out, err)
		}
		hold = true
	case smtp.BDAT:
		return s.bdat(out, cmd.Arg)
	case smtp.Masked:
		verb, _, _ := bytes.Cut(cmd.Line, []byte{' '})
		return s.refuseMasked(out, strings.ToUpper(string(verb)), smtp.CodeUnsupported)
	case smtp.XCLIENT:
		if cfg.Mode == imsg.ModeFixedXclient {
			return s.refuseMasked(out, "XCLIENT", smtp.CodeUnsupported)
		}
	case smtp.STARTTLS:
		if cfg.ForbidSTARTTLS {
			return s.refuseMasked(out, "STARTTLS", smtp.CodeNoTLS)
		}
		// Whatever comes in clear behind it could only be taken for
		// something said under TLS (RFC 3207, 4.2; CVE-2011-0411).
		if more || s.client.Pending() {
			return s.giveUp(out, smtp.CodeRejected, s.text(imsg.MsgProtoError))
		}
		s.info("STARTTLS:REQUEST")
		s.forward(out, cmd.Line, e, true)
		// Nothing is read until the server has decided.
		s.turnTo(out)
		return goOn
	case smtp.AUTH:
		hold = true
	case smtp.RSET:
		s.state.Store(uint32(imsg.StateRset))
		s.forward(out, cmd.Line, e, false)
		if s.chunks.state != noChunks {
			s.resetChunks(out)
		}
		return goOn
	case smtp.QUIT:
		s.state.Store(uint32(imsg.StateQuit))
	}
	s.forward(out, cmd.Line, e, hold)
	return goOn
}

// forward queues a command and hands its line to the server. A held one stops
// the reading of what follows until its reply is there.
func (s *session) forward(out *[]byte, line []byte, e entry, hold bool) {
	s.mu.Lock()
	s.queue.push(e)
	s.held = hold
	s.mu.Unlock()
	*out = append(*out, line...)
	*out = append(*out, '\r', '\n')
}

// mayMail tells whether auth_require lets the client send.
func (s *session) mayMail(out *[]byte) bool {
	want := s.w.cfg.AuthRequire
	if want == imsg.AuthNo || s.authenticated() {
		return true
	}
	// The reply to an EHLO in the same group may still be under way.
	if want == imsg.AuthIfSupported && s.drained(out) && imsg.AuthFlags(s.auth.Load())&imsg.AuthSupported == 0 {
		return true
	}
	s.w.count(imsg.CountNoAuth, 1)
	s.info("DATA:AUTH_REQUIRED")
	return false
}

// noSpool leaves the server because a message could not be scanned.
func (s *session) noSpool(out *[]byte, err error) step {
	s.log().Error("spool cannot be made", "error", err)
	return s.leaveServer(out, smtp.CodeSpool, s.text(imsg.MsgSpoolOpenFail)+": "+problem(err))
}

// reply answers a command ourselves, in its turn; a chunk, not before its octets
// are there (RFC 3030, 2).
func (s *session) reply(out *[]byte, code smtp.Code, text string) step {
	line := string(s.ownLine(code, text))
	if s.skip > 0 {
		s.sorry = line
		return goOn
	}
	return s.replyLine(line)
}

func (s *session) replyLine(line string) step {
	if s.answerLine(line) != nil {
		s.end("client")
		return stop
	}
	return goOn
}

// giveUp says why and closes both sides.
func (s *session) giveUp(out *[]byte, code smtp.Code, text string) step {
	if s.drained(out) && s.claim("error") {
		s.say(code, text)
		s.finish("error")
	}
	return stop
}

// refuseMasked answers what goes with an extension that is masked.
func (s *session) refuseMasked(out *[]byte, name string, code smtp.Code) step {
	s.info(name+":FILTERED", "src", s.src.Addr(), "ident", s.ident)
	return s.reply(out, code, s.text(imsg.MsgUnimplCommand))
}

// clean makes a foreign string fit for logs and environments.
func clean(b []byte) string {
	var buf [256]byte
	return string(smtp.AppendPrintable(buf[:0], b))
}
