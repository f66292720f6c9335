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
	errUnsolicited  = errors.New("a reply nobody asked for")
	errIntermediate = errors.New("an intermediate reply to a command that has none")
	errAccepted     = errors.New("DATA accepted without a message")
	errReset        = errors.New("RSET refused")
)

// relayReplies relays every complete line that is buffered, collected in out, and
// then lets what was answered take effect: a client can act on a reply only once
// it has it.
func (s *session) relayReplies(out *[]byte) relayState {
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
			e, err = s.nextExpected(out, &done)
		}
		if err == errUnsolicited && r.Code/100 >= 4 && r.Code != 421 {
			return s.handleUnsolicited(out, done, last.kind == data && code == 354)
		}
		if err == nil {
			err = checkCode(e, r.Code)
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
			if next := s.chargeReject(out, &done, e, r.Code); next != relayOn {
				return next
			}
		}
		*out = s.appendRelayed(*out, e, r)
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
		s.record(last, code)
		if last.kind == starttls && code == 220 && s.client.Pending() {
			if s.claim("error") {
				s.say(smtp.CodeRejected, s.text(imsg.MsgProtoError))
				s.finish("error")
			}
			return relayOver
		}
		if s.goesDirect(last, code) {
			break // what follows is no reply
		}
	}
	return s.deliver(out, done, last, code)
}

// isAuthOpen tells whether the reply to an AUTH, or to a response, is owed.
func (s *session) isAuthOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.queue.len()
	return n > 0 && s.queue.at(n-1).kind == auth
}

// deliver hands the client what was collected, and lets it take effect.
func (s *session) deliver(out *[]byte, done int, last entry, code int) relayState {
	if !s.sendClient(out) {
		return relayOver
	}
	return s.complete(done, last, code)
}

// chargeReject counts a refusal of the server against the client's quota, when it has
// all replies before that one. Over the quota, ours takes its place.
func (s *session) chargeReject(out *[]byte, done *int, last entry, code int) relayState {
	counter, found, ok := rejectQuota(last.kind, code)
	if !ok || !s.quotas.Has(counter) {
		return relayOn
	}
	if next := s.deliver(out, *done, last, 0); next != relayOn {
		return next
	}
	*done = 0
	denied := s.useQuota(nil, counter, 1, smtp.CodeRefused)
	if denied == nil {
		return relayOn
	}
	s.record(last, code)
	s.reject(rejection{denial: *denied, found: found})
	return relayOver
}

// checkCode tells what makes a code an impossible answer to a command.
func checkCode(e entry, code int) error {
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

// goesDirect tells whether a reply makes the session a direct proxy.
func (s *session) goesDirect(e entry, code int) bool {
	return e.kind == starttls && code == 220 || e.kind == auth && code == 235 && s.w.cfg.AuthSkip&imsg.SkipDirect != 0
}

// nextExpected returns the entry the next reply belongs to, putting own replies that
// come before it into out.
func (s *session) nextExpected(out *[]byte, done *int) (entry, error) {
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
	return entry{}, errUnsolicited
}

// sendClient hands collected replies to the client. None comes through once the
// server has been dropped or the session's end is somebody else's: what the client
// hears then is ours. False: the server's goroutine has nothing left to do.
func (s *session) sendClient(out *[]byte) bool {
	if len(*out) == 0 {
		return true
	}
	s.clientOut.Lock()
	defer s.clientOut.Unlock()
	if s.isTakenOver() || s.isEnded() {
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

// appendRelayed appends a line of a reply as the client is to see it, if it is.
func (s *session) appendRelayed(out []byte, e entry, r smtp.Reply) []byte {
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

// record keeps what a complete reply tells about the session.
func (s *session) record(e entry, code int) {
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
		s.recordSender(e.text, code)
		if ok {
			s.mu.Lock()
			s.tx = transaction{sender: e.text}
			s.mu.Unlock()
		}
	case rcpt:
		s.recordRecipient(e.text, code)
		if ok {
			s.mu.Lock()
			s.totalRcpts++
			s.tx.rcpts++
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
			s.chunkRefused.Store(true)
			s.chunkAnswered.Store(e.kind == quietChunk)
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
		s.setAnswerPending(false)
		s.mu.Unlock()
		s.transactionOver()
		s.w.count(imsg.CountMessages, 1)
		s.state.Store(uint32(imsg.StatePost))
		s.info("DATA:FINISHED [" + itoa(code) + "]")
	case auth:
		s.recordAuth(code)
	case starttls:
		if code != 220 {
			s.info("DIRECT:CANCELLED cause=starttls", "code", code)
		}
	}
}

func (s *session) recordAuth(code int) {
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

// complete removes answered entries from the queue, says own replies whose turn has
// come, and lets a reply that was awaited decide how the client is read.
func (s *session) complete(done int, last entry, code int) relayState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replyBegun = s.replies.Open() || len(s.server.Bytes()) > 0
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
	// What was awaited is the last of the queue: nothing is read behind it.
	if s.replyPending && done > 0 && s.queue.len() == 0 {
		s.replyPending = false
		switch {
		case last.kind == data && code == 354:
			s.openText()
		case last.kind == auth && code == 334:
			s.authing = true
		case s.goesDirect(last, code):
			s.goDirect(last.kind)
		}
	}
	s.cond.Broadcast()
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

// awaitReplies hands the server what was collected for it and waits until the client
// has every reply it is owed. False: the session is over.
func (s *session) awaitReplies(out *[]byte) bool {
	if !s.flush(out) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.len() > 0 && !s.over() {
		s.cond.Wait()
	}
	return !s.over()
}

// transactionOver and recipients: the server's envelope, as far as its replies
// tell.
func (s *session) transactionOver() {
	s.mu.Lock()
	s.tx = transaction{}
	s.mu.Unlock()
}

func (s *session) recipients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx.rcpts
}
