// A rejection: a reply of the server uses up a quota, so that it is replaced by
// ours and the server is dropped; or it refuses a message before its end, which is
// the client's answer and the server's last word. The server's goroutine finds
// out; the client's, which alone writes to the server, acts on it. This file
// owns the way between the two.

package session

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// rejection is what the client gets in place of the reply to the oldest command
// in the queue, which stays there until then: nothing overtakes it. If that is
// what the server said of a message, the client has it already, and nothing is owed.
type rejection struct {
	denial
	found    imsg.Found // 0: no event
	early    bool       // the server's own reply; text alone is set, once relaying is over
	relaying bool
}

// reject has the client's goroutine drop the server, whatever it waits for.
func (s *session) reject(r rejection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectLocked(&r)
}

// rejectLocked is reject with s.mu held. False: the session is over already.
func (s *session) rejectLocked(r *rejection) bool {
	if s.takenOver || s.ended {
		return false
	}
	s.takenOver, s.rejection = true, r
	s.cond.Broadcast()
	// It may wait for the client, or for a server that nobody reads any more.
	s.client.Expire()
	if r.early {
		s.server.Conn.SetWriteDeadline(longAgo) // not one octet more
	} else {
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingerWait))
	}
	return true
}

func (s *session) isRejected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejection != nil
}

// finishRejected ends a session that is rejected: QUIT to the server, our reply to the
// client, and to each command it has sent behind that one what the takeover
// answers.
func (s *session) finishRejected() {
	s.mu.Lock()
	// A server that takes no more of a message may have refused it: its own
	// goroutine gets to that, or to its end. Till then the text stays unread.
	for (s.phase == text || s.phase == verdictPending) && !s.over() && !s.takenOver {
		s.cond.Wait()
	}
	r := s.rejection
	if r == nil {
		s.mu.Unlock()
		return
	}
	for r.relaying && !s.ended {
		s.cond.Wait()
	}
	s.client.Conn.SetReadDeadline(time.Time{})
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.rejection = nil // acted on: from here the takeover is what over tells of
	s.replyPending, s.authing = false, false
	if s.phase == octets {
		s.discardLeft = s.chunks.left // still to come, and no commands
		if !s.message.headerSent {    // and its BDAT is not in the queue yet
			s.chunkReply = string(s.ownLine(smtp.CodeUnsupported, s.text(imsg.MsgUnimplCommand)))
		}
	}
	s.mu.Unlock()
	if r.early {
		s.takeover(r.text)
		return
	}
	s.server.Write([]byte("QUIT\r\n"))
	s.server.Conn.Close()
	s.w.count(imsg.CountRejectRateLimit, 1)
	if r.found != 0 && r.code == smtp.CodeRefused {
		s.reportOffence(r.found, "", 0, "")
	}
	s.pop()
	if s.say(r.code, r.text) != nil {
		s.end("client")
		return
	}
	for e, ok := s.pop(); ok; e, ok = s.pop() {
		quit, err := s.refuseQueued(e, r.text)
		if err != nil {
			s.end("client")
			return
		}
		if quit {
			s.finish("client")
			return
		}
	}
	s.takeover(r.text)
}

// pop takes the oldest command off the queue.
func (s *session) pop() (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.len() == 0 {
		return entry{}, false
	}
	return s.queue.pop(), true
}

// refuseQueued answers a command the server was asked and will not answer.
func (s *session) refuseQueued(e entry, reason string) (quit bool, err error) {
	switch e.kind {
	case own:
		return false, s.sayLine([]byte(e.text))
	case ownReset:
		return false, nil
	}
	verb := smtp.Other
	for v, k := range kinds {
		if k == e.kind {
			verb = v
		}
	}
	return s.refuseCommand(verb, true, reason)
}
