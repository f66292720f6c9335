// What becomes of a server's reply: which command it answers, what it means for
// the session, how the client sees it. Runs on the server's goroutine.

package session

import (
	"errors"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

type relayState uint8

const (
	relayOn relayState = iota
	relayDirect
	relayOver
)

var (
	errUnasked      = errors.New("a reply nobody asked for")
	errIntermediate = errors.New("an intermediate reply to a command that has none")
)

// takeReplies relays every complete line that is buffered, collected in out, and
// then lets what was answered take effect: a client can act on a reply only once
// it has it.
func (s *session) takeReplies(out *[]byte) relayState {
	done := 0 // complete replies and own ones in out, not yet off the queue
	var last entry
	code := 0
	for len(s.server.bytes()) > 0 {
		r, n, err := s.replies.Next(s.server.bytes())
		if err == nil && n == 0 {
			break
		}
		if err == nil {
			last, err = s.owed(out, &done)
		}
		if err == nil && r.Code/100 == 3 && !(r.Code == 354 && last.kind == data) && !(r.Code == 334 && last.kind == auth) {
			err = errIntermediate
		}
		if err != nil && r.Code != 421 {
			s.sendClient(out)
			s.protocolError(err)
			return relayOver
		}
		*out = s.relayed(*out, last, r)
		s.server.consume(n)
		if !r.Last {
			continue
		}
		code = r.Code
		if code == 421 {
			s.sendClient(out)
			s.finish("server")
			return relayOver
		}
		done++
		s.note(last, code)
		if last.kind == starttls && code == 220 && s.client.pending() {
			s.say(smtp.CodeRejected, s.text(imsg.MsgProtoError))
			s.finish("error")
			return relayOver
		}
		if last.kind == starttls || last.kind == auth {
			break // what follows may be no reply
		}
	}
	if !s.sendClient(out) {
		s.end("client")
		return relayOver
	}
	return s.settle(done, last, code)
}

// owed returns the entry the next reply belongs to, putting own replies that
// come before it into out.
func (s *session) owed(out *[]byte, done *int) (entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for *done < s.queue.len() {
		e := s.queue.at(*done)
		if e.kind != own {
			return *e, nil
		}
		*out = append(*out, e.text...)
		*done++
	}
	return entry{}, errUnasked
}

func (s *session) sendClient(out *[]byte) bool {
	if len(*out) == 0 {
		return true
	}
	err := s.sayLine(*out)
	*out = (*out)[:0]
	return err == nil
}

// relayed appends a line of a reply as the client is to see it.
func (s *session) relayed(out []byte, e entry, r smtp.Reply) []byte {
	if e.kind == ehlo && r.Code == 250 {
		if r.First {
			s.offering = 0
		}
		var cap smtp.Cap
		out, cap = s.w.offer.Append(out, r)
		s.offering |= cap
		return out
	}
	out = append(out, r.Line...)
	return append(out, '\r', '\n')
}

// note keeps what a complete reply tells about the session.
func (s *session) note(e entry, code int) {
	ok := code >= 200 && code < 300
	switch e.kind {
	case helo, ehlo:
		if ok {
			s.offered.Store(uint32(s.offering))
			if s.offering&smtp.CapAuth != 0 {
				s.setAuth(imsg.AuthSupported)
			}
			s.offering = 0
		}
	case mail:
		if ok {
			s.mu.Lock()
			s.mail = e.text
			s.mu.Unlock()
		}
	case rcpt:
		if ok {
			s.mu.Lock()
			s.rcpts++
			s.mu.Unlock()
			s.w.count(imsg.CountRecipients, 1)
		}
	case data:
		if code == 354 {
			s.trns.Add(1)
			s.state.Store(uint32(imsg.StateData))
			s.debug("DATA:GOING")
		} else {
			s.info("DATA:CANCELLED [" + itoa(code) + "]")
		}
	case endOfData:
		s.w.count(imsg.CountMessages, 1)
		s.state.Store(uint32(imsg.StatePost))
		s.info("DATA:FINISHED [" + itoa(code) + "]")
	case auth:
		s.noteAuth(code)
	case starttls:
		if code != 220 {
			s.info("DIRECT:CANCELLED cause=starttls", "code", code)
		}
	}
}

func (s *session) noteAuth(code int) {
	src := s.src.Addr()
	switch code {
	case 235:
		s.setAuth(imsg.AuthAccepted)
		s.w.count(imsg.CountAuthAccepted, 1)
		s.info("AUTH:ACCEPT", "src", src, "ident", "")
	case 334:
		s.debug("AUTH:CHALLENGE", "src", src, "ident", "")
	default:
		s.setAuth(imsg.AuthRejected)
		s.w.count(imsg.CountAuthRejected, 1)
		s.info("AUTH:REJECT ["+itoa(code)+"]", "src", src, "ident", "")
	}
}

func (s *session) setAuth(f imsg.AuthFlags) { s.auth.Or(uint32(f)) }

// settle takes answered entries off the queue, gives own replies whose turn has
// come, and lets the reply to a held command decide how the client is read.
func (s *session) settle(done int, last entry, code int) relayState {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range done {
		s.queue.pop()
	}
	for s.queue.len() > 0 && s.queue.at(0).kind == own {
		if s.sayLine([]byte(s.queue.pop().text)) != nil {
			break // the client is gone; its own goroutine finds out
		}
	}
	// A held command is the last of the queue: nothing is read behind it.
	if s.held && done > 0 && s.queue.len() == 0 {
		s.held = false
		switch {
		case last.kind == data && code == 354:
			s.phase = text
		case last.kind == auth && code == 334:
			s.authing = true
		case last.kind == starttls && code == 220:
			s.goDirect("starttls")
		case last.kind == auth && code == 235 && s.w.cfg.AuthSkip&imsg.SkipDirect != 0:
			s.goDirect("auth")
		}
	}
	s.turn.Broadcast()
	if s.phase == direct {
		return relayDirect
	}
	return relayOn
}

// drained waits until the client has every reply it is owed, so that ours comes
// in its turn. It returns when the session ends, too.
func (s *session) drained() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.len() > 0 && !s.ended {
		s.turn.Wait()
	}
}
