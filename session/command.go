// What becomes of a client's command. This file owns the checks and their order;
// each command ends here as forwarded, answered or the end of the relay.

package session

import (
	"bytes"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// handleLine decides on the next line of commands.
func (s *session) handleLine(out *[]byte) step {
	in := s.client.Bytes()
	if s.discardLeft > 0 {
		n := min(s.discardLeft, int64(len(in)))
		s.discardLeft -= n
		s.client.Consume(int(n))
		if s.discardLeft > 0 || s.chunkReply == "" {
			return goOn
		}
		line := s.chunkReply
		s.chunkReply = ""
		return s.replyLine(line)
	}
	if !s.clientSpoke {
		tls, known := startsTLS(in)
		switch {
		case !known:
			return needMore
		case tls:
			return s.refuseTLS(out)
		}
		s.clientSpoke = true
	}
	authing := s.isAuthing()
	s.lines.Limit = 0
	if authing {
		s.lines.Limit = smtp.AuthLimit
	}
	line, n, status := s.lines.Next(in)
	if status == smtp.LineMore {
		s.client.Consume(n)
		return needMore
	}
	if s.w.cfg.EarlyTalk && !s.greeted.Load() {
		return s.refuseEarlyTalk(line, status)
	}
	next := goOn
	switch {
	case status == smtp.LineBare:
		next = s.refuseAndClose(out, smtp.CodeRejected, s.text(imsg.MsgProtoError))
	case authing:
		next = s.authResponse(out, line, status)
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
	if next == stop && s.isRejected() {
		s.discardLeft = 0
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

// authResponse forwards a line of an AUTH exchange (RFC 4954, 4). One that cannot be
// forwarded cancels it, or the server would take the next command for it.
func (s *session) authResponse(out *[]byte, line []byte, status smtp.LineStatus) step {
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
	await := false
	switch cmd.Verb {
	case smtp.HELO, smtp.EHLO:
		s.state.Store(uint32(imsg.StateHelo))
		s.helo = printable(cmd.Arg)
		if cfg.LogHelo {
			s.always(cmd.Verb.String(), "src", s.src.Addr(), "ident", s.ident, "helo", s.helo)
		}
		if next := s.checkHelo(out, cmd.Arg); next != goOn {
			return next
		}
		s.abandonChunks(out)
	case smtp.MAIL:
		if s.chunks.state == openChunks && !s.chunkRefused.Load() {
			return s.reply(out, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
		}
		s.abandonChunks(out)
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
		e.text = s.publicAddress(addr, cfg.LogMailFrom)
	case smtp.RCPT:
		addr, params := smtp.Address(cmd.Arg)
		if keyword, found := s.offer.Refused(params); found {
			return s.refuseMasked(out, keyword, smtp.CodeParameter)
		}
		if denied := s.useQuota(out, imsg.RateRecipients, 1, smtp.CodeQuota); denied != nil {
			return s.reply(out, denied.code, denied.text)
		}
		if next := s.checkRcpt(out, addr, cmd.Arg); next != goOn {
			return next
		}
		if cfg.LogRcptTo != 0 {
			e.text = s.publicAddress(addr, cfg.LogRcptTo)
		}
	case smtp.DATA:
		if s.chunks.state != noChunks {
			return s.reply(out, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
		}
		if !s.maySend(out) {
			return s.reply(out, smtp.CodeAuthRequired, s.text(imsg.MsgAuthRequired))
		}
		if denied := s.useQuota(out, imsg.RateMessages, 1, smtp.CodeQuota); denied != nil {
			return s.reply(out, denied.code, denied.text)
		}
		s.debug("DATA:REQUEST")
		if err := s.beginMessage(); err != nil {
			return s.refuseNoSpool(out, err)
		}
		await = true
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
			return s.refuseAndClose(out, smtp.CodeRejected, s.text(imsg.MsgProtoError))
		}
		s.info("STARTTLS:REQUEST")
		s.forward(out, cmd.Line, e, true)
		// Nothing is read until the server has decided.
		s.waitPhase(out)
		return goOn
	case smtp.AUTH:
		await = true
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
	s.forward(out, cmd.Line, e, await)
	return goOn
}

// forward queues a command and hands its line to the server. One whose reply decides
// what follows stops the reading of it until that is there.
func (s *session) forward(out *[]byte, line []byte, e entry, await bool) {
	s.mu.Lock()
	s.queue.push(e)
	s.replyPending = await
	s.mu.Unlock()
	*out = append(*out, line...)
	*out = append(*out, '\r', '\n')
}

// maySend tells whether auth_require lets the client send.
func (s *session) maySend(out *[]byte) bool {
	want := s.w.cfg.AuthRequire
	if want == imsg.AuthNo || s.authenticated() {
		return true
	}
	// The reply to an EHLO in the same group may still be under way.
	if want == imsg.AuthIfSupported && s.awaitReplies(out) && imsg.AuthFlags(s.auth.Load())&imsg.AuthSupported == 0 {
		return true
	}
	s.w.count(imsg.CountNoAuth, 1)
	s.info("DATA:AUTH_REQUIRED")
	return false
}

// refuseNoSpool takes over because a message could not be scanned.
func (s *session) refuseNoSpool(out *[]byte, err error) step {
	s.log().Error("spool cannot be made", "error", err)
	return s.refuseAndTakeOver(out, smtp.CodeSpool, s.text(imsg.MsgSpoolOpenFail)+": "+errorText(err))
}

// reply answers a command ourselves, in its turn; a chunk, not before its octets
// are there (RFC 3030, 2).
func (s *session) reply(out *[]byte, code smtp.Code, text string) step {
	line := string(s.ownLine(code, text))
	if s.discardLeft > 0 {
		s.chunkReply = line
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

// refuseAndClose says why and closes both sides.
func (s *session) refuseAndClose(out *[]byte, code smtp.Code, text string) step {
	if s.awaitReplies(out) && s.claim("error") {
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

// printable makes a foreign string fit for logs and environments.
func printable(b []byte) string {
	var buf [256]byte
	return string(smtp.AppendPrintable(buf[:0], b))
}
