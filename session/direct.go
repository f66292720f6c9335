// The direct proxy: octets both ways, no checks. On Linux the kernel moves them
// (splice) without a copy through this process.

package session

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// goDirect opens the floodgate; s.mu is held.
func (s *session) goDirect(by kind) {
	cause := "auth"
	if by == starttls {
		cause = "starttls"
	}
	s.phase = direct
	s.state.Store(uint32(imsg.StateDirect))
	s.patience.Store(seconds(s.w.cfg.TimeoutDirect))
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
func (s *session) pump(to, from *stream, side string) {
	if s.w.mustEnd() {
		s.end("admin")
		return
	}
	if b := from.bytes(); len(b) > 0 {
		if to.write(b) != nil {
			s.end(side)
			return
		}
		from.consume(len(b))
	}
	for {
		from.conn.SetReadDeadline(time.Time{})
		err := from.await()
		s.touch()
		if err == nil {
			from.conn.SetReadDeadline(time.Now().Add(look))
			_, err = splice(to.conn, from.conn, &from.got)
			s.touch()
		}
		switch {
		case err == nil:
			s.mu.Lock()
			if s.by == "" {
				s.by = side
			}
			s.mu.Unlock()
			to.conn.CloseWrite()
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

func splice(to, from *net.TCPConn, got *atomic.Int64) (int64, error) {
	n, err := io.Copy(to, from)
	got.Add(n)
	return n, err
}
