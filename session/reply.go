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
	errAccepted     = errors.New("DATA accepted without a message")
	errReset        = errors.New("RSET refused")
)

// takeReplies relays every complete line that is buffered, collected in out, and
// then lets what was answered take effect: a client can act on a reply only once
// it has it.
func (s *session) takeReplies(out *[]byte) relayState {
	done := 0      // complete replies and own ones in out, not yet off the queue
	var last entry // what the last complete reply answers
	code := 0      // and its code
	s.replies.Auth = s.isAuthOpen()
	for len(s.server.Bytes()) > 0 {
		r, n, err := s.replies.Next(s.server.Bytes())
		if err == nil && n == 0 {
			break
		}
		e := entry{}
		if err == nil {
			e, err = s.owed(out, &done)
		}
		if err == errUnasked && r.Code/100 >= 4 && r.Code != 421 {
			return s.takeUnasked(out, done, last.kind == data && code == 354)
		}
		if err == nil {
			err = wrong(e, r.Code)
		}
		if err != nil && r.Code != 421 {
			s.sendClient(out)
			s.protocolError(err)
			return relayOver
		}
		if e.kind == starttls && r.First && !s.sendClient(out) {
			return relayOver
		}
		if r.First {
			if next := s.strike(out, &done, e, r.Code); next != relayOn {
				return next
			}
		}
		*out = s.relayed(*out, e, r)
		s.server.Consume(n)
		if !r.Last {
			continue
		}
		last, code = e, r.Code
		if code == 421 {
			if s.claim("server") {
				s.sayLine(*out)
				s.finish("server")
			}
			return relayOver
		}
		done++
		s.note(last, code)
		if last.kind == starttls && code == 220 && s.client.Pending() {
			if s.claim("error") {
				s.say(smtp.CodeRejected, s.text(imsg.MsgProtoError))
				s.finish("error")
			}
			return relayOver
		}
		if s.opens(last, code) {
			break // what follows is no reply
		}
	}
	return s.give(out, done, last, code)
}

// isAuthOpen tells whether the reply to an AUTH, or to a response, is owed.
func (s *session) isAuthOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.queue.len()
	return n > 0 && s.queue.at(n-1).kind == auth
}

// give hands the client what was collected, and lets it take effect.
func (s *session) give(out *[]byte, done int, last entry, code int) relayState {
	if !s.sendClient(out) {
		return relayOver
	}
	return s.settle(done, last, code)
}

// strike holds a refusal of the server against the client's quota, when it has
// all replies before that one. Over the quota, ours takes its place.
func (s *session) strike(out *[]byte, done *int, last entry, code int) relayState {
	counter, found, ok := strikes(last.kind, code)
	if !ok || !s.uses.Has(counter) {
		return relayOn
	}
	if next := s.give(out, *done, last, 0); next != relayOn {
		return next
	}
	*done = 0
	over := s.use(nil, counter, 1, smtp.CodeRefused)
	if over == nil {
		return relayOn
	}
	s.note(last, code)
	s.dismiss(dismissal{excess: *over, found: found})
	return relayOver
}

// wrong tells what makes a code an impossible answer to a command.
func wrong(e entry, code int) error {
	switch {
	case code/100 == 3 && !(code == 354 && e.kind == data) && !(code == 334 && e.kind == auth):
		return errIntermediate
	case e.kind == data && code/100 == 2:
		// More likely the answer to something else: with its 354 still to
		// come the client's text would go out as commands.
		return errAccepted
	case e.kind == ownReset && code/100 != 2:
		return errReset
	}
	return nil
}

// opens tells whether a reply makes the session a direct proxy.
func (s *session) opens(e entry, code int) bool {
	return e.kind == starttls && code == 220 || e.kind == auth && code == 235 && s.w.cfg.AuthSkip&imsg.SkipDirect != 0
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

// sendClient hands collected replies to the client. None comes through once the
// server has been cut off or the session's end is somebody else's: what the client
// hears then is ours. False: the server's goroutine has nothing left to do.
func (s *session) sendClient(out *[]byte) bool {
	if len(*out) == 0 {
		return true
	}
	s.clientOut.Lock()
	defer s.clientOut.Unlock()
	if s.isTaken() || s.isEnded() {
		return false
	}
	err := s.client.Write(*out)
	*out = (*out)[:0]
	if err != nil {
		s.end("client")
		return false
	}
	return true
}

// relayed appends a line of a reply as the client is to see it, if it is.
func (s *session) relayed(out []byte, e entry, r smtp.Reply) []byte {
	if r.Code != 421 && (e.kind == ownReset || e.kind == quietChunk && r.Code/100 == 2) {
		return out
	}
	if e.kind == ehlo && r.Code == 250 {
		if r.First {
			s.offering = 0
		}
		var cap smtp.Cap
		out, cap = s.offer.Append(out, r)
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
			s.transactionOver()
			s.logEnvelope()
			s.offered.Store(uint32(s.offering))
			if s.offering&smtp.CapAuth != 0 {
				s.setAuth(imsg.AuthSupported)
			}
			s.offering = 0
		}
	case mail:
		s.noteSender(e.text, code)
		if ok {
			s.mu.Lock()
			s.mail, s.takers = e.text, 0
			s.mu.Unlock()
		}
	case rcpt:
		s.noteRecipient(e.text, code)
		if ok {
			s.mu.Lock()
			s.rcpts++
			s.takers++
			s.mu.Unlock()
			s.w.count(imsg.CountRecipients, 1)
		}
	case rset, ownReset:
		if ok {
			s.transactionOver()
			s.logEnvelope()
		}
	case chunk, quietChunk:
		s.logEnvelope()
		if !ok {
			s.declined.Store(true)
			s.answered.Store(e.kind == quietChunk)
			s.info("DATA:CANCELLED [" + itoa(code) + "]")
		}
	case data:
		s.logEnvelope()
		if code == 354 {
			s.trns.Add(1)
			s.state.Store(uint32(imsg.StateData))
			s.debug("DATA:GOING")
		} else {
			s.info("DATA:CANCELLED [" + itoa(code) + "]")
		}
	case endOfData:
		s.mu.Lock()
		s.setEnding(false)
		s.mu.Unlock()
		s.transactionOver()
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
		s.info("AUTH:ACCEPT", "src", src, "ident", s.ident)
	case 334:
		s.debug("AUTH:CHALLENGE", "src", src, "ident", s.ident)
	default:
		s.setAuth(imsg.AuthRejected)
		s.w.count(imsg.CountAuthRejected, 1)
		s.info("AUTH:REJECT ["+itoa(code)+"]", "src", src, "ident", s.ident)
	}
}

func (s *session) setAuth(f imsg.AuthFlags) { s.auth.Or(uint32(f)) }

// settle takes answered entries off the queue, gives own replies whose turn has
// come, and lets the reply to a held command decide how the client is read.
func (s *session) settle(done int, last entry, code int) relayState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = s.replies.Open() || len(s.server.Bytes()) > 0
	for range done {
		s.queue.pop()
	}
	for s.queue.len() > 0 && s.queue.at(0).kind == own {
		// It stays in the queue while it is written: what we say
		// meanwhile comes behind it. Nobody may have to wait for a
		// client that does not read, so the lock is not held.
		line := []byte(s.queue.at(0).text)
		s.mu.Unlock()
		ok := s.sendClient(&line)
		s.mu.Lock()
		if !ok {
			return relayOver
		}
		s.queue.pop()
	}
	// A held command is the last of the queue: nothing is read behind it.
	if s.held && done > 0 && s.queue.len() == 0 {
		s.held = false
		switch {
		case last.kind == data && code == 354:
			s.openText()
		case last.kind == auth && code == 334:
			s.authing = true
		case s.opens(last, code):
			s.goDirect(last.kind)
		}
	}
	s.turn.Broadcast()
	if s.phase == direct {
		return relayDirect
	}
	return relayOn
}

// openText has what the client sends read as the text of a message; s.mu is held,
// and the client's goroutine waits for the 354.
func (s *session) openText() {
	s.phase, s.message.open = text, true
}

// drained hands the server what was collected for it and waits until the client
// has every reply it is owed. False: the session is over.
func (s *session) drained(out *[]byte) bool {
	if !s.flush(out) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.len() > 0 && !s.over() {
		s.turn.Wait()
	}
	return !s.over()
}

// transactionOver and recipients: the server's envelope, as far as its replies
// tell.
func (s *session) transactionOver() {
	s.mu.Lock()
	s.mail, s.takers = "", 0
	s.mu.Unlock()
}

func (s *session) recipients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takers
}
