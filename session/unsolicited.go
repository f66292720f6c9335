// A 4yz or 5yz nobody asked for. Between 354 and our end of data it is the answer
// to that message; else, outside a message, it is the server's farewell. This file
// owns the difference. Runs on the server's goroutine.

package session

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// handleUnsolicited is at the first line of such a reply. Of the replies collected in
// out done have not taken effect; opened: the last of them is a 354.
//
// What the reply is gets decided in one step with the client's goroutine being
// stopped, under s.mu: that one releases the end of a message under s.mu, too. So
// the end is held back for good; or it has just been released, the reply is none
// to it, and both sides are closed as at a farewell.
func (s *session) handleUnsolicited(out *[]byte, done int, opened bool) relayState {
	s.mu.Lock()
	if opened {
		// DATA is the last command of the queue, and its reply awaited:
		// nobody acts on its 354 but us.
		for range done {
			s.queue.pop()
		}
		s.openText()
	}
	switch {
	case s.phase == text, s.phase == verdictPending:
		r := &rejection{early: true, relaying: true}
		left := s.rejectLocked(r)
		s.mu.Unlock()
		if left {
			s.answerEarly(out, r)
		}
	case s.phase == commands && s.chunks.state != openChunks:
		s.mu.Unlock()
		s.relayFarewell(out)
	default:
		s.mu.Unlock()
		s.sendClient(out)
		s.protocolError(errUnsolicited)
	}
	return relayOver
}

// answerEarly gives the client the answer to a message whose end is still to come.
// The server may go on reading text, or may read commands by now: it hears nothing
// more, and no end. The rest is the client's goroutine's, once the reply is out.
func (s *session) answerEarly(out *[]byte, r *rejection) {
	code, reply, err := s.relayLastReply(out)
	if err != nil {
		s.finish("server")
		return
	}
	s.info("DATA:CANCELLED [" + itoa(code) + "]")
	s.server.Conn.Close()
	s.mu.Lock()
	r.text, r.relaying = reply, false
	s.cond.Broadcast()
	s.mu.Unlock()
}

// relayFarewell passes the server's farewell on and closes both sides.
func (s *session) relayFarewell(out *[]byte) {
	if !s.claim("server") {
		return
	}
	if code, _, err := s.relayLastReply(out); err == nil {
		s.info("farewell of the server", "code", code, "dst", s.dst)
	}
	s.finish("server")
}

// relayLastReply relays the reply under way to its end, behind what is collected in
// out. It returns the code, and the last line made fit for a reply of ours.
func (s *session) relayLastReply(out *[]byte) (code int, reply string, err error) {
	for {
		r, n, err := s.replies.Next(s.server.Bytes())
		if err != nil {
			s.log().Warn("protocol error of the server", "dst", s.dst, "error", err)
			*out = append(*out, s.ownLine(smtp.CodeTimeout, s.text(imsg.MsgProtoError))...)
			s.sayLine(*out)
			return 0, "", err
		}
		if n > 0 {
			*out = append(append(*out, r.Line...), "\r\n"...)
			code, reply = r.Code, truncate(printable(r.Line), smtp.OwnReplyLimit)
			s.server.Consume(n)
		}
		if n > 0 && !r.Last {
			continue
		}
		if err := s.sayLine(*out); err != nil {
			return 0, "", err
		}
		*out = (*out)[:0]
		if n > 0 {
			return code, reply, nil
		}
		if err := s.server.Fill(); err != nil {
			return 0, "", err
		}
		s.touch()
	}
}
