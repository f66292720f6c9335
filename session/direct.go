// The direct proxy: octets both ways, no checks, and without a copy through this
// process where the kernel can move them.

package session

import (
	"io"

	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// sides are what the ends of a session are said to be by.
var sides = [2]string{"client", "server"}

// move moves what has come of a side to the other, and passes the end of a half on; with
// the second one the session ends. It is silence on both sides that ends one else, by the
// worker's clock. It tells whether anything was done.
func (s *session) move(from relay.Side) (did bool) {
	in, out := s.stream(from), s.stream(1-from)
	n, err := in.Move(out)
	if n > 0 {
		s.relay.Touch()
		s.facts.Trace.Moved(from, n)
	}
	switch err {
	case nil:
		return true
	case stream.ErrAgain:
		return n > 0
	case io.EOF:
		s.gone[from] = true
		s.relay.Moved(sides[from])
		if out.CloseWrite(); s.gone == [2]bool{true, true} {
			s.endLocked(sides[from])
		}
	default:
		s.endLocked(sides[from])
	}
	return true
}
