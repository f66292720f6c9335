// The direct proxy: octets both ways, no checks, and without a copy through this
// process where the kernel can move them.

package session

import (
	"errors"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/session/stream"
)

// pump moves, without the lock, what is buffered, then all that follows, and passes the end of
// either half on. It is silence on both sides that ends a session, by the
// worker's clock. What is silent is waited for without a pipe and without end;
// when octets come, they are moved for as long as a look of that clock takes.
func (s *session) pump(to, from *stream.Stream, side string) {
	s.mu.Unlock()
	defer s.mu.Lock()
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
			s.relay.Moved(side)
			s.mu.Unlock()
			to.CloseWrite()
			return
		case !errors.Is(err, os.ErrDeadlineExceeded):
			s.end(side)
			return
		}
	}
}

// touch is a sign of life of a direct proxy.
func (s *session) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken {
		s.relay.Touch()
	}
}
