// The relay: two loops, each reads one side, decides, and writes to the other.
// What is decided stands in command.go, data.go and reply.go.

package session

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// ownLines is room for a few lines of our own among what is collected, in octets.
const ownLines = 4 << 10

// outputs hold what a batch of input becomes: at most twice its size (dots), and
// lines of our own.
var outputs = sync.Pool{New: func() any {
	b := make([]byte, 0, 2*stream.BufferSize+ownLines)
	return &b
}}

// step is what a decision leaves to do.
type step uint8

const (
	goOn       step = iota
	needMore        // what is buffered is the start of a line: read more
	stop            // the client's goroutine has nothing left to relay
	toTakeover      // the server is gone: take over
)

// fromClient reads the client until the session ends.
func (s *session) fromClient() {
	defer s.unref()
	for {
		if s.w.mustEnd() && s.shutDown(new([]byte)) {
			break
		}
		if err := s.client.Fill(); err != nil {
			if s.wasWoken(err) {
				continue
			}
			if !s.isRejected() {
				s.clientGone(err)
			}
			break
		}
		s.touch()
		out := outputs.Get().(*[]byte)
		on := s.handleInput(out)
		*out = (*out)[:0]
		outputs.Put(out)
		if !on {
			break
		}
	}
	s.finishRejected()
	s.drainInput()
}

// handleInput decides on all that is buffered of the client. What goes to the server is
// collected in out, and flushed before anything is waited for. False: the relay
// is over.
func (s *session) handleInput(out *[]byte) bool {
	for len(s.client.Bytes()) > 0 {
		phase, ok := s.waitPhase(out)
		if !ok {
			return false
		}
		if phase == commands && s.w.mustEnd() && s.shutDown(out) {
			return false
		}
		next := stop
		switch phase {
		case commands:
			next = s.handleLine(out)
		case text:
			next = s.relayText(out)
		case octets:
			next = s.relayChunk(out)
		case direct:
			s.directFromClient()
		}
		if next == toTakeover {
			s.takeover(s.reason)
			return false
		}
		if next == stop {
			return false
		}
		if next == needMore {
			break
		}
	}
	return s.flush(out)
}

// waitPhase tells how the next octets are to be read. The client is not read while a
// reply is awaited that decides on that, nor while pipeline_size replies are
// owed: what it sends waits in the kernel (RFC 2920, 3.2). False: the relay is over.
//
// Nobody waits for ever: the server has every command that was collected, in whole
// lines, so the next word is its own; and its goroutine, which reads that word and
// makes the place, waits for nothing but the client's taking what it is owed.
func (s *session) waitPhase(out *[]byte) (phase, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.replyPending || s.isFull()) && len(*out) > 0 {
		s.mu.Unlock()
		ok := s.flush(out)
		s.mu.Lock()
		if !ok {
			return 0, false
		}
	}
	if s.isFull() {
		s.w.count(imsg.CountPipeline, 1)
	}
	for (s.replyPending || s.isFull()) && !s.over() {
		s.cond.Wait()
	}
	return s.phase, !s.over()
}

// isFull tells whether so many replies are owed that the client's next command
// has no place; s.mu is held. What we say ourselves, be it to the server or to the
// client, needs none: a command brings two entries at most. Octets of a message
// and its end are no commands.
func (s *session) isFull() bool {
	return s.phase == commands && s.queue.len() >= s.w.cfg.PipelineSize
}

// over tells whether there is nothing more to relay; s.mu is held.
func (s *session) over() bool { return s.ended || s.rejection != nil }

// flush writes what was collected for the server. A server that takes no more is
// no end yet: it may have said why, and its own goroutine gets to that.
func (s *session) flush(out *[]byte) bool {
	if len(*out) == 0 {
		return true
	}
	err := s.server.Write(*out)
	*out = (*out)[:0]
	return err == nil
}

// clientGone ends the session at the client's end. One that closed its writing
// half only still gets the replies it is owed; a message without an end goes no
// further. The end is passed on at once, as it would be without us: a server that
// looks before it answers a message does not take one nobody waits for.
func (s *session) clientGone(err error) {
	s.mu.Lock()
	direct, owed := s.phase == direct, s.phase == commands && s.queue.len() > 0
	s.mu.Unlock()
	switch {
	case direct:
		s.server.Conn.CloseWrite()
	case errors.Is(err, io.EOF) && owed:
		s.server.Conn.CloseWrite()
		if s.awaitReplies(new([]byte)) {
			s.end("client")
		}
	case os.IsTimeout(err):
		s.end("timeout")
	default: // a reset is a close, too
		s.end("client")
	}
}

// fromServer reads the server until it closes, or until we drop it.
func (s *session) fromServer() {
	defer s.unref()
	for {
		if s.server.Fill() != nil {
			s.serverGone()
			return
		}
		s.touch()
		s.greeted.Store(true)
		out := outputs.Get().(*[]byte)
		next := s.relayReplies(out)
		*out = (*out)[:0]
		outputs.Put(out)
		switch next {
		case relayDirect:
			s.directFromServer()
			return
		case relayOver:
			return
		}
	}
}

// serverGone ends the session at the server's end, unless we dropped it ourselves.
func (s *session) serverGone() {
	if s.claim("server") {
		s.finish("server")
	}
}

// claim makes the session's end the caller's: the first one to have it says the
// last words. The client's goroutine has it from the moment it dropped the server.
func (s *session) claim(by string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takenOver || s.ended {
		return false
	}
	s.ended = true
	if s.closedBy == "" {
		s.closedBy = by
	}
	s.cond.Broadcast()
	return true
}

func (s *session) isTakenOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takenOver
}

// hangUp closes our half towards the client. Its goroutine goes on reading, and
// ends with the client's own close or when lingering is over.
func (s *session) hangUp() {
	s.touch()
	s.idleLimit.Store(seconds(lingerWait))
	s.client.Conn.CloseWrite()
}

// say writes one reply of our own to the client, at once.
func (s *session) say(code smtp.Code, text string) error {
	var buf [smtp.OwnReplyLimit]byte
	line := smtp.AppendReply(buf[:0], code, s.enhanced() && code != smtp.CodeGreeting, s.w.cfg.ProxyName, text)
	return s.sayLine(line)
}

func (s *session) sayLine(line []byte) error {
	s.clientOut.Lock()
	defer s.clientOut.Unlock()
	return s.client.Write(line)
}

func (s *session) enhanced() bool {
	return smtp.Cap(s.offered.Load())&smtp.CapEnhancedStatus != 0
}

func (s *session) ownLine(code smtp.Code, text string) []byte {
	return smtp.AppendReply(nil, code, s.enhanced(), s.w.cfg.ProxyName, text)
}

// answerLine says a reply of our own when its turn has come: behind the replies
// the server still owes. Only the client's goroutine adds to the queue: one that
// it finds empty stays so while it writes.
func (s *session) answerLine(line string) error {
	s.mu.Lock()
	wait := s.queue.len() > 0
	if wait {
		s.queue.push(entry{kind: own, text: line})
	}
	s.mu.Unlock()
	if wait {
		return nil
	}
	return s.sayLine([]byte(line))
}

// protocolError ends a session whose server talks nonsense.
func (s *session) protocolError(err error) {
	if !s.claim("error") {
		return
	}
	s.log().Warn("protocol error of the server", "dst", s.dst, "error", err)
	s.say(smtp.CodeTimeout, s.text(imsg.MsgProtoError))
	s.finish("error")
}
