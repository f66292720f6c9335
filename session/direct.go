// The direct proxy: octets both ways, no checks, and without a copy through this
// process where the kernel can move them.

package session

import (
	"errors"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// goDirect makes the session a direct proxy; s.mu is held.
func (s *session) goDirect(by kind) {
	cause := "auth"
	if by == starttls {
		cause = "starttls"
	}
	s.phase = direct
	s.state.Store(uint32(imsg.StateDirect))
	s.idleLimit.Store(seconds(s.w.cfg.TimeoutDirect))
	s.w.count(imsg.CountDirect, 1)
	s.info("DIRECT:GOING", "cause", cause)
}

func (s *session) directFromClient() {
	s.pump(&s.server, &s.client, "client")
}

func (s *session) directFromServer() {
	s.pump(&s.client, &s.server, "server")
}

// pump moves what is buffered, then all that follows, and passes the end of
// either half on. It is silence on both sides that ends a session, by the
// worker's clock. What is silent is waited for without a pipe and without end;
// when octets come, they are moved for as long as a look of that clock takes.
func (s *session) pump(to, from *stream.Stream, side string) {
	if s.w.mustEnd() {
		s.end("admin")
		return
	}
	if b := from.Bytes(); len(b) > 0 {
		if to.Write(b) != nil {
			s.end(side)
			return
		}
		from.Consume(len(b))
	}
	for {
		from.Conn.SetReadDeadline(time.Time{})
		err := from.Await()
		s.touch()
		if err == nil {
			from.Conn.SetReadDeadline(time.Now().Add(lookInterval))
			err = from.SpliceTo(to)
			s.touch()
		}
		switch {
		case err == nil:
			s.mu.Lock()
			if s.closedBy == "" {
				s.closedBy = side
			}
			s.mu.Unlock()
			to.Conn.CloseWrite()
			return
		case !errors.Is(err, os.ErrDeadlineExceeded) || s.isEnded():
			s.end(side)
			return
		}
	}
}

func (s *session) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
