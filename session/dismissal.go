// A dismissal: a reply of the server uses up a quota, so that it is replaced by
// ours and the server is left; or it refuses a message before its end, which is
// the client's answer and the server's last word. The server's goroutine finds
// out; the client's, which alone writes to the server, carries it out. This file
// owns the way between the two.

package session

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// dismissal is what the client gets in place of the reply to the oldest command
// in the queue, which stays there until then: nothing overtakes it. If that is
// what the server said of a message, the client has it already, and nothing is owed.
type dismissal struct {
	excess
	found    imsg.Found // 0: no event
	early    bool       // the server's own reply; text alone is set, once relaying is over
	relaying bool
}

// dismiss has the client's goroutine leave the server, whatever it waits for.
func (s *session) dismiss(d dismissal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveFor(&d)
}

// leaveFor is dismiss with s.mu held. False: the session is over already.
func (s *session) leaveFor(d *dismissal) bool {
	if s.taken || s.ended {
		return false
	}
	s.taken, s.dismissal = true, d
	s.turn.Broadcast()
	// It may wait for the client, or for a server that nobody reads any more.
	s.client.Expire()
	if d.early {
		s.server.Conn.SetWriteDeadline(time.Unix(1, 0)) // not one octet more
	} else {
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingering * time.Second))
	}
	return true
}

func (s *session) dismissed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dismissal != nil
}

// carryOut ends a session that is dismissed: QUIT to the server, our reply to the
// client, and to each command it has sent behind that one what the takeover
// answers.
func (s *session) carryOut() {
	s.mu.Lock()
	// A server that takes no more of a message may have refused it: its own
	// goroutine gets to that, or to its end. Till then the text stays unread.
	for (s.phase == text || s.phase == judging) && !s.over() && !s.taken {
		s.turn.Wait()
	}
	d := s.dismissal
	if d == nil {
		s.mu.Unlock()
		return
	}
	for d.relaying && !s.ended {
		s.turn.Wait()
	}
	s.client.Conn.SetReadDeadline(time.Time{})
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.dismissal = nil // carried out: over is what the takeover is
	s.held, s.authing = false, false
	if s.phase == octets {
		s.skip = s.chunks.left // still to come, and no commands
		if !s.message.headed { // and its BDAT is not in the queue yet
			s.sorry = string(s.ownLine(smtp.CodeUnsupported, s.text(imsg.MsgUnimplCommand)))
		}
	}
	s.mu.Unlock()
	if d.early {
		s.takeover(d.text)
		return
	}
	s.server.Write([]byte("QUIT\r\n"))
	s.server.Conn.Close()
	s.w.count(imsg.CountRejectRateLimit, 1)
	if d.found != 0 && d.code == smtp.CodeRefused {
		s.offend(d.found, "", 0, "")
	}
	s.pop()
	if s.say(d.code, d.text) != nil {
		s.end("client")
		return
	}
	for e, ok := s.pop(); ok; e, ok = s.pop() {
		quit, err := s.playOwed(e, d.text)
		if err != nil {
			s.end("client")
			return
		}
		if quit {
			s.finish("client")
			return
		}
	}
	s.takeover(d.text)
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

// playOwed answers a command the server was asked and will not answer.
func (s *session) playOwed(e entry, reason string) (quit bool, err error) {
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
	return s.play(verb, true, reason)
}
