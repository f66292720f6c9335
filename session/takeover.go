// The takeover: the server is gone and we play its part until the client quits,
// its time is over, or it has tried too often.

package session

import (
	"errors"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// cut ends the server's side. At a command, where out is given, it gets what was
// collected for it and a QUIT; in a message it is closed without, so that it
// throws away what it has. False: the session has ended otherwise.
func (s *session) cut(out *[]byte) bool {
	// Whoever writes a reply of the server at this moment gets it done.
	s.clientOut.Lock()
	s.mu.Lock()
	over := s.over()
	s.taken = !s.ended
	s.mu.Unlock()
	s.clientOut.Unlock()
	if over {
		return false
	}
	if out != nil {
		// Nobody reads its replies any more: it may take nothing either.
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingering * time.Second))
		*out = append(*out, "QUIT\r\n"...)
		s.server.Write(*out)
		*out = (*out)[:0]
	}
	s.server.Conn.Close()
	return true
}

// leaveServer answers a command with a refusal, in its turn, and has the session
// taken over.
func (s *session) leaveServer(out *[]byte, code smtp.Code, text string) step {
	if !s.drained(out) || !s.cut(out) {
		return stop
	}
	return s.depart(code, text)
}

// depart tells the client why its server is gone; the takeover repeats it.
func (s *session) depart(code smtp.Code, text string) step {
	if s.say(code, text) != nil {
		s.end("client")
		return stop
	}
	s.reason = text
	return play
}

// takeover plays the server. The session is over when it returns.
func (s *session) takeover(reason string) {
	s.mu.Lock()
	s.taken = true
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
	rest := s.skip > 0 || s.message.open
	limit := imsg.Limit(s.w.cfg.TimeoutSession)
	if rest {
		limit = s.w.cfg.TimeoutIdle
	}
	s.touch()
	s.patience.Store(seconds(limit))
	for count := 0; ; {
		if s.w.mustEnd() && s.skip == 0 && !s.message.open {
			s.sayEnd()
			return
		}
		line, err := s.nextLine()
		if s.hurried(err) {
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
			if rest = s.skip > 0 || s.message.open; !rest {
				s.patience.Store(seconds(imsg.Limit(s.w.cfg.TimeoutSession)))
			}
		}
		if line == nil {
			continue
		}
		if count++; count > s.w.cfg.TakeoverCmds {
			s.say(smtp.CodeRejected, s.hopeless())
			s.finish("error")
			return
		}
		quit, err := s.play(line.verb, line.hasArg, reason)
		if quit || err != nil {
			s.finish("client")
			return
		}
	}
}

// played is what a takeover needs to know of a command.
type played struct {
	verb   smtp.Verb
	hasArg bool
}

// nextLine waits for the client's next command; nil is something that was
// swallowed. The rest of a message that was refused on its way is read to its
// end first: it is no command.
func (s *session) nextLine() (*played, error) {
	if len(s.client.Bytes()) == 0 {
		if err := s.client.Fill(); err != nil {
			return nil, err
		}
	}
	for {
		in := s.client.Bytes()
		switch {
		case s.skip > 0:
			n := min(s.skip, int64(len(in)))
			s.skip -= n
			s.client.Consume(int(n))
			if s.skip > 0 || s.sorry == "" {
				return nil, nil
			}
			line := s.sorry
			s.sorry = ""
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
		p := new(played)
		if cmd, err := smtp.ParseCommand(line); status == smtp.LineOK && err == nil {
			*p = played{cmd.Verb, len(cmd.Arg) > 0}
			if cmd.Verb == smtp.BDAT {
				s.skip, _, _ = smtp.ParseBDAT(cmd.Arg)
			}
		}
		s.client.Consume(n)
		return p, nil
	}
}

// play answers one command as a server that refuses to work would.
func (s *session) play(v smtp.Verb, hasArg bool, reason string) (quit bool, err error) {
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
		return false, s.say(smtp.CodeSequence, s.hopeless())
	}
	return false, s.say(smtp.CodeUnsupported, s.text(imsg.MsgUnimplCommand))
}

// hopeless is what a client hears that goes on as if it could still send.
func (s *session) hopeless() string {
	if s.infected {
		return s.text(imsg.MsgVirusNoMore)
	}
	return s.text(imsg.MsgTransactionFailed)
}

// finish ends the session after our last words: the server is cut off, the
// client has time to read them and to close.
func (s *session) finish(by string) {
	s.mu.Lock()
	s.ended = true
	if s.by == "" {
		s.by = by
	}
	s.turn.Broadcast()
	s.mu.Unlock()
	if s.server.Conn != nil {
		s.server.Conn.Close()
	}
	s.hangUp()
}
