// Reaching the server: what bounds the attempt, and what the client hears that has
// none. How a connection is made stands in package upstream.

package session

import (
	"net"
	"net/netip"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// connect reaches the server, or plays one that says why it cannot.
func (s *session) connect() bool {
	s.state.Store(uint32(imsg.StateConnect))
	// TimeoutConnect bounds the attempt, not timeout_idle.
	s.patience.Store(forever)
	conn, err := s.dial()
	if s.w.mustEnd() {
		if err == nil {
			conn.Close()
		}
		s.turnOff()
		return false
	}
	if err == nil {
		s.mu.Lock()
		err = s.server.Open(conn)
		s.mu.Unlock()
		if err == nil {
			return s.meet()
		}
		conn.Close()
	}
	s.touch()
	s.patience.Store(s.idleLimit())
	reason := s.text(imsg.MsgCannotConnect) + " [" + s.dst.Addr().String() + "]: " + problem(err)
	if os.IsTimeout(err) {
		reason = s.text(imsg.MsgConnectTimeout) + " [" + s.dst.Addr().String() + "]"
	}
	s.turnAway(reason)
	return false
}

// dial connects to the server within timeout_connect.
func (s *session) dial() (*net.TCPConn, error) {
	ctx, done := s.limited(s.w.cfg.TimeoutConnect)
	defer done()
	return s.w.dialer.Dial(ctx, s.w.cfg, s.src, s.dst, s.logPortTaken)
}

func (s *session) logPortTaken(from netip.AddrPort) {
	if from.Port() != 0 {
		s.info("the client's port is taken, another one is used", "src", s.src, "dst", s.dst)
		return
	}
	s.log().Warn("no port is left for a connection", "from", from.Addr(), "dst", s.dst)
}

// meet waits for the server's greeting, which in mode fixed+xclient is not the
// first thing it says.
func (s *session) meet() bool {
	s.state.Store(uint32(imsg.StatePre))
	s.offer = s.w.offer
	s.offer.Added = s.longestHeader()
	var err error
	if s.w.cfg.Mode == imsg.ModeFixedXclient {
		err = s.introduce()
	} else {
		s.queue.push(entry{kind: greeting})
	}
	s.touch()
	s.patience.Store(s.idleLimit())
	if err == nil {
		return true
	}
	if s.w.mustEnd() {
		s.turnOff()
		return false
	}
	s.info("XCLIENT:FAILED", "dst", s.dst, "error", err)
	if s.cut(new([]byte)) {
		s.turnAway(s.text(imsg.MsgFixedXclientFail))
	}
	return false
}

// turnAway greets in the server's place and takes over: there is no server.
func (s *session) turnAway(reason string) {
	s.judged()
	if s.say(smtp.CodeGreeting, "SMTP") == nil {
		s.takeover(reason)
		s.swallow()
	}
}
