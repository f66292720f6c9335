// The takeover: the server is gone and we answer in its place until the client quits,
// its time is over, or it has tried too often.

package session

import (
	"errors"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// dropServer ends the server's side. At a command, where out is given, it gets what was
// collected for it and a QUIT; in a message it is closed without, so that it
// throws away what it has. False: the session has ended otherwise.
func (s *session) dropServer(out *[]byte) bool {
	// Whoever writes a reply of the server at this moment gets it done.
	s.clientOut.Lock()
	s.mu.Lock()
	over := s.over()
	s.takenOver = !s.ended
	s.mu.Unlock()
	s.clientOut.Unlock()
	if over {
		return false
	}
	if out != nil {
		// Nobody reads its replies any more: it may take nothing either.
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingerWait))
		*out = append(*out, "QUIT\r\n"...)
		s.server.Write(*out)
		*out = (*out)[:0]
	}
	s.server.Conn.Close()
	return true
}

// refuseAndTakeOver answers a command with a refusal, in its turn, and has the session
// taken over.
func (s *session) refuseAndTakeOver(out *[]byte, code smtp.Code, text string) step {
	if !s.awaitReplies(out) || !s.dropServer(out) {
		return stop
	}
	return s.startTakeover(code, text)
}

// startTakeover tells the client why its server is gone; the takeover repeats it.
func (s *session) startTakeover(code smtp.Code, text string) step {
	if s.say(code, text) != nil {
		s.end("client")
		return stop
	}
	s.reason = text
	return toTakeover
}

// takeover answers in the server's place. The session is over when it returns.
func (s *session) takeover(reason string) {
	s.mu.Lock()
	s.takenOver = true
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return
	}
	s.state.Store(uint32(imsg.StateTaken))
	s.info("SESSION TAKEOVER:", "src", s.src.Addr(), "ident", s.ident, "trns", s.trns.Load(), "reason", reason)
	s.lines.Limit = 0
	// What is left of a refused message is no command, and takes the time it
	// takes: a client that does not listen before its end would send it again.
	rest := s.discardLeft > 0 || s.message.open
	limit := imsg.Limit(s.w.cfg.TimeoutSession)
	if rest {
		limit = s.w.cfg.TimeoutIdle
	}
	s.touch()
	s.idleLimit.Store(seconds(limit))
	for count := 0; ; {
		if s.w.mustEnd() && s.discardLeft == 0 && !s.message.open {
			s.sayShutdown()
			return
		}
		cmd, err := s.nextCommand()
		if s.wasWoken(err) {
			continue
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.say(smtp.CodeTimeout, s.text(imsg.MsgSessionTimeout))
				s.client.Conn.SetReadDeadline(time.Time{}) // it gets the time to read that
			}
			s.finish("timeout")
			return
		}
		if rest {
			s.touch()
			if rest = s.discardLeft > 0 || s.message.open; !rest {
				s.idleLimit.Store(seconds(imsg.Limit(s.w.cfg.TimeoutSession)))
			}
		}
		if cmd == nil {
			continue
		}
		if count++; count > s.w.cfg.TakeoverCmds {
			s.say(smtp.CodeRejected, s.refusalText())
			s.finish("error")
			return
		}
		quit, err := s.refuseCommand(cmd.verb, cmd.hasArg, reason)
		if quit || err != nil {
			s.finish("client")
			return
		}
	}
}

// parsedCommand is what a takeover needs to know of a command.
type parsedCommand struct {
	verb   smtp.Verb
	hasArg bool
}

// nextCommand waits for the client's next command; nil is something that was
// discarded. The rest of a message that was refused on its way is read to its
// end first: it is no command.
func (s *session) nextCommand() (*parsedCommand, error) {
	if len(s.client.Bytes()) == 0 {
		if err := s.client.Fill(); err != nil {
			return nil, err
		}
	}
	for {
		in := s.client.Bytes()
		switch {
		case s.discardLeft > 0:
			n := min(s.discardLeft, int64(len(in)))
			s.discardLeft -= n
			s.client.Consume(int(n))
			if s.discardLeft > 0 || s.chunkReply == "" {
				return nil, nil
			}
			line := s.chunkReply
			s.chunkReply = ""
			return nil, s.sayLine([]byte(line))
		case s.message.open:
			out := outputs.Get().(*[]byte)
			s.message.body.NoSpool = true
			n, _, _, ev := s.message.body.Next(in, (*out)[:0], nil)
			outputs.Put(out)
			s.client.Consume(n)
			s.message.open = ev != smtp.BodyEnd
			return nil, nil
		}
		line, n, status := s.lines.Next(in)
		if status == smtp.LineMore {
			s.client.Consume(n)
			if err := s.client.Fill(); err != nil {
				return nil, err
			}
			continue
		}
		p := new(parsedCommand)
		if cmd, err := smtp.ParseCommand(line); status == smtp.LineOK && err == nil {
			*p = parsedCommand{cmd.Verb, len(cmd.Arg) > 0}
			if cmd.Verb == smtp.BDAT {
				s.discardLeft, _, _ = smtp.ParseBDAT(cmd.Arg)
			}
		}
		s.client.Consume(n)
		return p, nil
	}
}

// refuseCommand answers one command as a server that refuses to work would.
func (s *session) refuseCommand(v smtp.Verb, hasArg bool, reason string) (quit bool, err error) {
	switch {
	case v == smtp.QUIT:
		return true, s.say(smtp.CodeBye, s.text(imsg.MsgSignOff))
	case v == smtp.NOOP, v == smtp.RSET:
		return false, s.say(smtp.CodeOK, "OK")
	case (v == smtp.HELO || v == smtp.EHLO) && hasArg:
		// RFC 2034, 4: no enhanced code in a reply to EHLO.
		var buf [smtp.OwnReplyLimit]byte
		return false, s.sayLine(smtp.AppendReply(buf[:0], smtp.CodeOK, false, s.w.cfg.ProxyName, s.text(imsg.MsgHello)))
	case v == smtp.MAIL:
		return false, s.say(smtp.CodeTakeover, reason)
	case v == smtp.RCPT, v == smtp.DATA:
		return false, s.say(smtp.CodeSequence, s.refusalText())
	}
	return false, s.say(smtp.CodeUnsupported, s.text(imsg.MsgUnimplCommand))
}

// refusalText is what a client hears that goes on as if it could still send.
func (s *session) refusalText() string {
	if s.infected {
		return s.text(imsg.MsgVirusNoMore)
	}
	return s.text(imsg.MsgTransactionFailed)
}

// finish ends the session after our last words: the server is closed, the
// client has time to read them and to close.
func (s *session) finish(by string) {
	s.mu.Lock()
	s.ended = true
	if s.closedBy == "" {
		s.closedBy = by
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	if s.server.Conn != nil {
		s.server.Conn.Close()
	}
	s.hangUp()
}
